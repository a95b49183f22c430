"""Every error has one shape: code, what, place, cause, next. An unknown one shows nothing of our inside."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest
from tests.testbed.faces import Face

from watchkeeper.api.app import create
from watchkeeper.api.services import HealthReport
from watchkeeper.core.principals import Role

SHAPE = {"code", "what", "place", "cause", "next"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/v1/incidents/inc_none", None, 404, "not_found"),
        ("GET", "/v1/incidents/inc_none/story", None, 404, "not_found"),
        ("POST", "/v1/incidents/inc_none/undo", None, 404, "not_found"),
        ("POST", "/v1/incidents/inc_none/close", {"comment": "over"}, 404, "not_found"),
        ("POST", "/v1/incidents/inc_none/close", {}, 422, "bad_input"),
        ("GET", "/v1/approvals/apr_none", None, 404, "not_found"),
        ("POST", "/v1/approvals/apr_none", {"answer": "approved"}, 404, "not_found"),
        ("POST", "/v1/approvals/apr_none", {"answer": "maybe"}, 422, "bad_input"),
        ("POST", "/v1/approvals/apr_none", {"answer": "approved", "extra": 1}, 422, "bad_input"),
        ("POST", "/v1/stop", {"scope": "everything"}, 422, "bad_input"),
        ("GET", "/v1/ledger/entries?after=x", None, 422, "bad_input"),
        ("GET", "/v1/timeline?wait_s=26", None, 422, "bad_input"),
        ("GET", "/v1/ledger/entries?after=9223372036854775808", None, 422, "unrecordable"),
        ("GET", "/v1/ledger/entries?since=0001-01-01T00:00:00%2B14:00", None, 422, "unrecordable"),
        ("GET", "/v1/timeline?after=9223372036854775808", None, 422, "unrecordable"),
        ("GET", "/v1/rollouts/prod/chat/history?before=9223372036854775808", None, 422, "unrecordable"),
        ("POST", "/v1/tokens", {"principal": "a b", "roles": ["viewer"]}, 422, "bad_input"),
        ("GET", "/v1/nothing", None, 404, "not_found"),
        ("DELETE", "/v1/status", None, 405, "method_not_allowed"),
    ],
)
async def test_errors_have_one_shape(
    face: Face, method: str, path: str, body: dict[str, object] | None, status: int, code: str
) -> None:
    async with face.client(Role.ADMIN) as root:
        reply = await root.request(method, path, json=body)
    assert (reply.status_code, reply.json()["code"]) == (status, code)
    assert set(reply.json()) == SHAPE
    assert reply.json()["what"]


@pytest.mark.parametrize(
    ("path", "body", "place", "what"),
    [
        ("/v1/stop", {"scope": "all", "then_und": True}, "body.then_und", 'unknown key (did you mean "then_undo"?)'),
        ("/v1/agents/remediator/litellm/ceiling", {"ceiling": "bouned", "reason": "r"}, "body.ceiling", '"bounded"?)'),
    ],
)
async def test_a_mistyped_word_is_told_with_the_one_that_was_meant(
    face: Face, path: str, body: dict[str, object], place: str, what: str
) -> None:
    async with face.client(Role.ADMIN) as root:
        reply = await root.post(path, json=body)
    assert (reply.status_code, reply.json()["place"]) == (422, place)
    assert reply.json()["what"].endswith(what)


async def test_a_conflict_is_409_with_the_next_step(face: Face) -> None:
    incident = await face.incident()
    async with face.client(Role.ADMIN) as root:
        reply = await root.post(f"/v1/incidents/{incident}/undo")
    assert reply.status_code == 409
    assert reply.json()["next"] == f"watchkeeper ledger show {incident}"


async def test_an_unknown_error_shows_nothing_of_our_inside(face: Face) -> None:
    async def fails(anchor: str | None) -> None:
        raise RuntimeError("hunter2 at /srv/secret")

    app = create(replace(face.services, verify=fails))  # type: ignore[arg-type]  # it fails before it returns
    token = await face.token(Role.VIEWER)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        reply = await client.post("/v1/ledger/verify", json={}, headers={"Authorization": f"Bearer {token}"})
    assert reply.status_code == 500
    assert "hunter2" not in reply.text
    assert set(reply.json()) == SHAPE


async def test_readiness_follows_health_and_liveness_does_not(face: Face) -> None:
    blind = HealthReport(acting=False, why="store_unavailable")
    app = create(replace(face.services, health=lambda: blind))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://api") as client:
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["why"]) == (503, "store_unavailable")
        assert (await client.get("/healthz")).status_code == 200


async def test_invariant_11_senders_get_503_and_are_told_when_to_come_again(face: Face) -> None:
    async with face.client(Role.INGEST) as sender:
        async with face.services.store.write() as tx:
            await tx.exec_driver_sql("DROP TABLE signal_inbox")
        span = {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": "chat"}
        span |= {"startTimeUnixNano": "1767225600000000000", "endTimeUnixNano": "1767225601000000000"}
        span |= {"attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}]}  # type: ignore[dict-item]
        body = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
        reply = await sender.post("/v1/traces", json=body)
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
