"""Who may call what: no route answers without a token but the probes, and each asks for its role."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fastapi.routing import APIRoute
from sqlalchemy import select
from tests.testbed.faces import Face

from watchkeeper.api.tables import api_token
from watchkeeper.core.errors import InputError
from watchkeeper.core.principals import PrincipalKind, Role

OPEN = {"/healthz", "/readyz"}

ENOUGH = {
    ("POST", "/v1/traces"): {Role.INGEST},
    ("POST", "/v1/metrics"): {Role.INGEST},
    ("POST", "/v1/alerts/alertmanager"): {Role.INGEST},
    ("POST", "/v1/incidents/{incident}/undo"): {Role.OPERATOR},
    ("POST", "/v1/incidents/{incident}/close"): {Role.OPERATOR},
    ("POST", "/v1/approvals"): set(Role),
    ("POST", "/v1/approvals/{approval}"): set(Role),
    ("POST", "/v1/approvals/{approval}/edit"): set(Role),
    ("POST", "/v1/stop"): {Role.OPERATOR},
    ("POST", "/v1/policies"): {Role.OPERATOR},
    ("POST", "/v1/policies/{version}/rollback"): {Role.OPERATOR},
    ("POST", "/v1/ledger/archive"): {Role.OPERATOR},
    ("POST", "/v1/ledger/evidence/erase"): {Role.OPERATOR},
    ("POST", "/v1/ledger/prune"): {Role.OPERATOR},
    ("POST", "/v1/ledger/prune/entries"): set(),
    ("POST", "/v1/resume"): set(),
    **{
        ("POST", f"/v1/agents/{{role}}/{{specialist}}/{verb}"): {Role.OPERATOR}
        for verb in ("promote", "demote", "ceiling", "revoke")
    },
    ("POST", "/v1/agents/{role}/{specialist}/reinstate"): set(),
    ("POST", "/v1/rollouts/{environment}/{service}/advance"): {Role.OPERATOR},
    ("POST", "/v1/rollouts/{environment}/{service}/set-back"): {Role.OPERATOR},
    ("POST", "/v1/incidents/{incident}/judge"): {Role.APPROVER, Role.OPERATOR},
    ("POST", "/v1/tokens"): set(),
    ("DELETE", "/v1/tokens/{principal}"): set(),
    ("GET", "/v1/whoami"): set(Role),
    ("GET", "/openapi.json"): set(Role),
}
"""The roles that open a route, apart from admin, which opens all. Not named: whoever may look, may. An approval's own
terms say who may answer it."""
LOOKERS = {Role.VIEWER, Role.APPROVER, Role.OPERATOR}


def routes(face: Face) -> list[tuple[str, str]]:
    """Every method and path that the application serves, from its own description."""
    described = face.app.openapi()["paths"]
    return sorted((method.upper(), path) for path, methods in described.items() for method in methods)


def url(path: str) -> str:
    return path.replace("{", "").replace("}", "")


async def test_every_route_but_the_open_ones_refuses_without_a_token(face: Face) -> None:
    found = routes(face)
    assert len(found) > 20
    async with face.client() as nobody:
        for method, path in found:
            reply = await nobody.request(method, url(path))
            if path in OPEN:
                assert reply.status_code == 200, path
            else:
                assert reply.status_code == 401, path
                assert reply.json()["code"] == "unauthenticated"
                assert reply.json()["next"].startswith("watchkeeper token create")


async def test_there_are_no_pages_for_browsers(face: Face) -> None:
    async with face.client(Role.ADMIN) as root:
        for path in ("/docs", "/redoc", "/docs/oauth2-redirect"):
            assert (await root.get(path)).status_code == 404
        assert (await root.get("/openapi.json")).json()["paths"].keys() >= {"/v1/stop", "/openapi.json"}


def test_no_route_is_missing_from_the_description(face: Face) -> None:
    hidden = {route.path for route in face.app.routes if isinstance(route, APIRoute) and not route.include_in_schema}
    assert hidden == set()


@pytest.mark.parametrize("role", list(Role))
async def test_every_route_asks_for_its_role(face: Face, role: Role) -> None:
    async with face.client(role) as caller:
        for method, path in routes(face):
            if path in OPEN:
                continue
            enough = ENOUGH.get((method, path), LOOKERS) | {Role.ADMIN}
            reply = await caller.request(method, url(path))
            assert (reply.status_code == 403) is (role not in enough), (method, path, reply.text)
            assert reply.status_code != 401


async def test_only_the_hash_of_a_token_is_kept(face: Face) -> None:
    token = await face.token(Role.VIEWER)
    async with face.services.store.read() as tx:
        rows = [dict(row._mapping) for row in await tx.execute(select(api_token))]
    assert len(rows) == 1
    assert token not in str(rows)
    assert token.removeprefix("wk_") not in str(rows)


async def test_an_expired_token_is_refused(face: Face) -> None:
    made = await face.services.tokens.make("ann", PrincipalKind.PERSON, (Role.VIEWER,), timedelta(days=1))
    assert await face.services.tokens.principal_of(made.get_secret_value()) is not None
    face.clock.advance(86_400)
    assert await face.services.tokens.principal_of(made.get_secret_value()) is None


async def test_a_revoked_token_is_refused_at_once(face: Face) -> None:
    async with face.client(Role.VIEWER, name="ann") as ann, face.client(Role.ADMIN, name="root") as root:
        assert (await ann.get("/v1/whoami")).json()["id"] == "ann"
        assert (await root.delete("/v1/tokens/ann")).json() == {"principal": "ann", "tokens": 1}
        assert (await ann.get("/v1/whoami")).status_code == 401
        assert (await root.delete("/v1/tokens/ann")).status_code == 404


async def test_a_token_made_over_the_api_works_and_is_shown_once(face: Face) -> None:
    async with face.client(Role.ADMIN, name="root") as root, face.client() as nobody:
        made = await root.post("/v1/tokens", json={"principal": "sdk", "kind": "service", "roles": ["ingest"]})
        assert made.status_code == 201
        header = {"Authorization": f"Bearer {made.json()['token']}"}
        who = (await nobody.get("/v1/whoami", headers=header)).json()
        assert (who["id"], who["kind"], who["roles"]) == ("sdk", "service", ["ingest"])


async def test_nobody_makes_a_token_of_the_daemon(face: Face) -> None:
    async with face.client(Role.ADMIN) as root:
        reply = await root.post("/v1/tokens", json={"principal": "x", "kind": "daemon", "roles": ["admin"]})
    assert reply.status_code == 422
    assert reply.json()["place"] == "body.kind"


@pytest.mark.parametrize("name", ["ann@example.com", "", "a" * 65, "a b", "é"])
async def test_a_principal_is_an_opaque_id(face: Face, name: str) -> None:
    with pytest.raises(InputError, match="not a usable principal id"):
        await face.services.tokens.make(name, PrincipalKind.PERSON, (Role.VIEWER,))


@pytest.mark.parametrize("header", ["", "Basic abc", "Bearer", "Bearer ", "Bearer wk_wrong", "wk_bare"])
async def test_a_bad_authorization_header_is_no_authorization(face: Face, header: str) -> None:
    async with face.client() as nobody:
        reply = await nobody.get("/v1/status", headers={"Authorization": header})
    assert reply.status_code == 401
    assert "wk_wrong" not in reply.text
