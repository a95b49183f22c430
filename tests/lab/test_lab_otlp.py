"""Spans on the wire: valid OTLP, kept within a bound while the daemon is away, never lost by a flush cut short."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI, Request, Response
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from pydantic import SecretStr

from watchkeeper.lab import otlp
from watchkeeper.lab.otlp import Exporter, SpanRecord, encode
from watchkeeper.lab.serving import HttpServer


def span(number: int, service: str = "support", error_type: str | None = None) -> SpanRecord:
    return SpanRecord(
        service=service,
        name="chat chat-main",
        trace_id=b"t" * 16,
        span_id=number.to_bytes(8, "big"),
        parent_id=b"p" * 8,
        client=True,
        start_ns=1_000,
        end_ns=2_000,
        attributes=(("gen_ai.operation.name", "chat"), ("gen_ai.usage.input_tokens", 7), ("flag", True), ("x", 0.5)),
        error_type=error_type,
    )


class Daemon:
    """An OTLP receiver that answers what it is told to."""

    def __init__(self) -> None:
        self.status = 200
        self.tokens: set[str] = set()
        self.bodies: asyncio.Queue[bytes] = asyncio.Queue()
        self.app = FastAPI(openapi_url=None)
        self.app.post("/v1/traces")(self.receive)

    async def receive(self, request: Request) -> Response:
        self.tokens.add(request.headers.get("authorization", ""))
        if self.status == 200:
            self.bodies.put_nowait(await request.body())
        return Response(status_code=self.status)

    def span_ids(self) -> list[int]:
        found: list[int] = []
        while not self.bodies.empty():
            message = ExportTraceServiceRequest.FromString(self.bodies.get_nowait())
            for resource in message.resource_spans:
                found += [int.from_bytes(each.span_id, "big") for each in resource.scope_spans[0].spans]
        return found


@asynccontextmanager
async def daemon_and_exporter() -> AsyncIterator[tuple[Daemon, Exporter]]:
    daemon = Daemon()
    server = HttpServer("daemon", daemon.app)
    await server.start()
    exporter = Exporter(server.url, SecretStr("the-token"), "lab")
    try:
        yield daemon, exporter
    finally:
        await exporter.close()
        await server.stop()


def test_bodies_are_otlp_with_one_resource_a_service() -> None:
    body = encode([span(1), span(2, "research", "429"), span(3)], "lab")
    message = ExportTraceServiceRequest.FromString(body)
    services = {}
    for resource in message.resource_spans:
        attributes = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
        services[attributes["service.name"]] = resource.scope_spans[0].spans
        assert attributes["deployment.environment.name"] == "lab"
    assert {name: len(spans) for name, spans in services.items()} == {"support": 2, "research": 1}
    failed = services["research"][0]
    values = {pair.key: pair.value for pair in failed.attributes}
    assert values["error.type"].string_value == "429"
    assert values["gen_ai.usage.input_tokens"].int_value == 7
    assert values["flag"].WhichOneof("value") == "bool_value"
    assert values["x"].double_value == 0.5
    assert failed.status.code == 2


async def test_spans_arrive_with_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "MAX_BATCH", 2)
    async with daemon_and_exporter() as (daemon, exporter):
        for number in range(5):
            exporter.add(span(number))
        assert await exporter.flush()
        assert daemon.span_ids() == [0, 1, 2, 3, 4]
        assert daemon.tokens == {"Bearer the-token"}
        assert exporter.status().sent == 5


async def test_spans_wait_while_the_daemon_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "MAX_BATCH", 2)
    monkeypatch.setattr(otlp, "MAX_BUFFER", 3)
    async with daemon_and_exporter() as (daemon, exporter):
        daemon.status = 503
        exporter.add(span(0))
        assert not await exporter.flush()
        for number in range(1, 7):
            exporter.add(span(number))
        assert (exporter.status().buffered, exporter.status().dropped) == (4, 3)
        daemon.status = 200
        assert await exporter.flush()
        assert daemon.span_ids() == [0, 4, 5, 6]


async def test_a_batch_that_is_called_malformed_is_dropped_and_counted() -> None:
    async with daemon_and_exporter() as (daemon, exporter):
        daemon.status = 400
        exporter.add(span(0))
        assert await exporter.flush()
        assert (exporter.status().dropped, exporter.status().last_problem) == (1, "status 400")


async def test_a_flush_that_is_cancelled_loses_nothing() -> None:
    async with daemon_and_exporter() as (daemon, exporter):
        exporter.add(span(0))
        flush = asyncio.create_task(exporter.flush())
        await asyncio.sleep(0)
        flush.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flush
        assert exporter.status().buffered == 1
        assert await exporter.flush()
        assert set(daemon.span_ids()) == {0}
