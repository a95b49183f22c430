"""What comes in is durable before it is acknowledged; what is malformed gets a 4xx that names the place."""

from __future__ import annotations

import gzip
import json

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from sqlalchemy import func, select
from tests.testbed.faces import Face

from watchkeeper.api import ingest
from watchkeeper.core.principals import Role
from watchkeeper.signals.tables import signal_inbox

ALERT = {
    "version": "4",
    "groupKey": "{}:{alertname='SpendHigh'}",
    "status": "firing",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "SpendHigh", "service": "chat"},
            "annotations": {},
            "startsAt": "2026-01-01T00:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "fingerprint": "abc123",
        }
    ],
}


def traces(*spans: dict[str, object]) -> dict[str, object]:
    return {"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}


def a_span(**changes: object) -> dict[str, object]:
    return {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174",
        "name": "chat gpt-4o",
        "startTimeUnixNano": "1767225600000000000",
        "endTimeUnixNano": "1767225601000000000",
        "attributes": [
            {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
            {"key": "gen_ai.request.model", "value": {"stringValue": "gpt-4o"}},
        ],
    } | changes


async def held(face: Face) -> int:
    async with face.services.store.read() as tx:
        count: int = (await tx.execute(select(func.count()).select_from(signal_inbox))).scalar_one()
    return count


async def test_json_traces_are_kept_once_and_answered_in_json(face: Face) -> None:
    async with face.client(Role.INGEST) as sender:
        for _ in range(2):
            reply = await sender.post("/v1/traces", json=traces(a_span()))
            assert (reply.status_code, reply.json()) == (200, {})
            assert reply.headers["content-type"] == "application/json"
    assert await held(face) == 1


async def test_gzipped_protobuf_is_answered_in_protobuf(face: Face) -> None:
    message = ExportTraceServiceRequest()
    span = message.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id, span.name = b"\x01" * 16, b"\x02" * 8, "chat"
    span.start_time_unix_nano, span.end_time_unix_nano = 1767225600 * 10**9, 1767225601 * 10**9
    named = span.attributes.add()
    named.key, named.value.string_value = "gen_ai.operation.name", "chat"
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
    async with face.client(Role.INGEST) as sender:
        reply = await sender.post("/v1/traces", content=gzip.compress(message.SerializeToString()), headers=headers)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/x-protobuf"
    answer = ExportTraceServiceResponse()
    answer.ParseFromString(reply.content)
    assert answer.partial_success.rejected_spans == 0
    assert await held(face) == 1


async def test_what_is_well_formed_but_unusable_is_counted_as_rejected(face: Face) -> None:
    async with face.client(Role.INGEST) as sender:
        reply = await sender.post(
            "/v1/traces", json=traces(a_span(), a_span(spanId="aaaaaaaaaaaaaaaa", endTimeUnixNano="0"))
        )
    partial = reply.json()["partialSuccess"]
    assert (reply.status_code, partial["rejectedSpans"]) == (200, 1)
    assert partial["errorMessage"]
    assert await held(face) == 1


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/v1/traces", b"{", "application/json"),
        ("/v1/traces", b"\xff\xff\xff", "application/x-protobuf"),
        ("/v1/traces", b"{}", "text/plain"),
        ("/v1/traces", json.dumps({"resourceSpans": [{"scopeSpans": 7}]}).encode(), "application/json"),
        ("/v1/metrics", b"[]", "application/json"),
        ("/v1/alerts/alertmanager", b"not json", "application/json"),
        ("/v1/alerts/alertmanager", json.dumps(ALERT | {"version": "3"}).encode(), "application/json"),
        ("/v1/alerts/alertmanager", json.dumps(ALERT | {"alerts": [{"status": "on"}]}).encode(), "application/json"),
    ],
)
async def test_a_malformed_body_is_refused_and_the_place_is_named(
    face: Face, path: str, body: bytes, kind: str
) -> None:
    async with face.client(Role.INGEST) as sender:
        reply = await sender.post(path, content=body, headers={"Content-Type": kind})
    assert reply.status_code == 422
    assert reply.json()["place"]
    assert await held(face) == 0


async def test_an_alert_is_kept_once(face: Face) -> None:
    async with face.client(Role.INGEST) as sender:
        first = await sender.post("/v1/alerts/alertmanager", json=ALERT)
        second = await sender.post("/v1/alerts/alertmanager", json=ALERT)
    assert first.json() == {"accepted": 1, "duplicates": 0}
    assert second.json() == {"accepted": 0, "duplicates": 1}


async def test_invariant_10_a_body_over_the_bound_is_refused(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "MAX_BODY", 64)
    async with face.client(Role.INGEST) as sender:
        reply = await sender.post("/v1/alerts/alertmanager", json=ALERT)
    assert (reply.status_code, reply.json()["code"]) == (413, "too_large")


async def told(face: Face, name: str) -> dict[str, object]:
    async with face.client(Role.VIEWER, name="vic") as viewer:
        (found,) = [each for each in (await viewer.get("/v1/status")).json()["sources"] if each["name"] == name]
    return dict(found)


async def test_the_status_tells_what_each_sender_delivered(face: Face) -> None:
    async with face.client(Role.INGEST) as sender:
        for _ in range(3):
            await sender.post("/v1/alerts/alertmanager", json=ALERT)
        await sender.post("/v1/traces", json=traces(a_span(), a_span(spanId="aaaaaaaaaaaaaaaa", endTimeUnixNano="0")))
    alerts, otlp = await told(face, "alertmanager"), await told(face, "otlp")
    assert (alerts["state"], alerts["signals"], alerts["duplicates"], alerts["failures"]) == ("ok", 1, 2, 0)
    assert (otlp["state"], otlp["signals"]) == ("partial", 1)
    assert otlp["last_error"]


@pytest.mark.parametrize(
    ("roles", "body", "status", "error"),
    [
        ((), b"{}", 401, "this call carries no valid token"),
        ((Role.VIEWER,), b"{}", 403, "ann may not do this"),
        ((Role.INGEST,), b"not json", 422, "the body is not JSON"),
    ],
    ids=["no-token", "no-role", "malformed"],
)
async def test_what_is_refused_is_counted(
    face: Face, roles: tuple[Role, ...], body: bytes, status: int, error: str
) -> None:
    async with face.client(*roles) as sender:
        for _ in range(2):
            assert (await sender.post("/v1/alerts/alertmanager", content=body)).status_code == status
    refused, other = await told(face, "alertmanager"), await told(face, "otlp")
    assert (refused["state"], refused["signals"], refused["failures"]) == ("waiting", 0, 2)
    assert refused["last_error"] == error
    assert other["failures"] == 0
