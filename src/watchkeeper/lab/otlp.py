"""Spans as OTLP/HTTP protobuf, sent in small batches and kept, within a bound, while the daemon is away.

What exceeds the bound is dropped oldest first and counted. A batch that the daemon calls malformed (4xx) is dropped and
counted too: sending it again would not mend it. Delivery is at least once; span ids tell duplicates.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status
from pydantic import SecretStr

from watchkeeper.core.model import Contract

FLUSH_EVERY_S = 0.5
MAX_BATCH = 512
MAX_BUFFER = 10_000
MAX_BACKOFF_S = 5.0
SCHEMA_URL = "https://opentelemetry.io/schemas/1.41.0"

AttributeValue = str | int | float | bool


class SpanRecord(Contract):
    """One finished span. `error_type` set means that it failed."""

    service: str
    name: str
    trace_id: bytes
    span_id: bytes
    parent_id: bytes = b""
    client: bool = False
    start_ns: int
    end_ns: int
    attributes: tuple[tuple[str, AttributeValue], ...]
    error_type: str | None = None


def encode(records: Sequence[SpanRecord], environment: str) -> bytes:
    """An `ExportTraceServiceRequest`, one resource for each service."""
    by_service: dict[str, list[Span]] = {}
    for record in records:
        by_service.setdefault(record.service, []).append(_span(record))
    scope = InstrumentationScope(name="watchkeeper.lab")
    request = ExportTraceServiceRequest(
        resource_spans=[
            ResourceSpans(
                resource=Resource(
                    attributes=_attributes({"service.name": service, "deployment.environment.name": environment})
                ),
                scope_spans=[ScopeSpans(scope=scope, spans=spans)],
                schema_url=SCHEMA_URL,
            )
            for service, spans in by_service.items()
        ]
    )
    body: bytes = request.SerializeToString()
    return body


def _span(record: SpanRecord) -> Span:
    attributes = dict(record.attributes)
    status = Status(code=Status.STATUS_CODE_UNSET)
    if record.error_type is not None:
        attributes["error.type"] = record.error_type
        status = Status(code=Status.STATUS_CODE_ERROR, message=record.error_type)
    return Span(
        trace_id=record.trace_id,
        span_id=record.span_id,
        parent_span_id=record.parent_id,
        name=record.name,
        kind=Span.SPAN_KIND_CLIENT if record.client else Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=record.start_ns,
        end_time_unix_nano=record.end_ns,
        attributes=_attributes(attributes),
        status=status,
    )


def _attributes(values: Mapping[str, AttributeValue]) -> list[KeyValue]:
    return [KeyValue(key=name, value=_any_value(value)) for name, value in values.items()]


def _any_value(value: AttributeValue) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case str():
            return AnyValue(string_value=value)


class ExporterStatus(Contract):
    buffered: int
    sent: int
    dropped: int
    last_problem: str | None


class Exporter:
    """Collects spans and sends them. `run` ends by cancellation; `flush` then gives what is left one more chance."""

    def __init__(self, url: str, token: SecretStr, environment: str) -> None:
        self._url = f"{url.rstrip('/')}/v1/traces"
        self._environment = environment
        headers = {"content-type": "application/x-protobuf"}
        if token.get_secret_value():
            headers["authorization"] = f"Bearer {token.get_secret_value()}"
        self._client = httpx.AsyncClient(headers=headers, timeout=5.0, trust_env=False)
        self._buffer: deque[SpanRecord] = deque()
        self._in_hand: list[SpanRecord] = []
        self._sent = self._dropped = 0
        self._problem: str | None = None

    def add(self, record: SpanRecord) -> None:
        if len(self._buffer) >= MAX_BUFFER:
            self._buffer.popleft()
            self._dropped += 1
        self._buffer.append(record)

    def status(self) -> ExporterStatus:
        return ExporterStatus(
            buffered=len(self._buffer) + len(self._in_hand),
            sent=self._sent,
            dropped=self._dropped,
            last_problem=self._problem,
        )

    async def run(self) -> None:
        wait = FLUSH_EVERY_S
        while True:
            await asyncio.sleep(wait)
            wait = FLUSH_EVERY_S if await self.flush() else min(wait * 2, MAX_BACKOFF_S)

    async def flush(self) -> bool:
        """Sends what is buffered, batch by batch; false when the daemon is away and the rest was kept."""
        while self._in_hand or self._buffer:
            while self._buffer and len(self._in_hand) < MAX_BATCH:
                self._in_hand.append(self._buffer.popleft())
            self._problem, again = await self._send(self._in_hand)
            if again:
                return False
            if self._problem is None:
                self._sent += len(self._in_hand)
            else:
                self._dropped += len(self._in_hand)
            self._in_hand = []
        return True

    async def _send(self, batch: Sequence[SpanRecord]) -> tuple[str | None, bool]:
        """What went wrong, if anything, and whether to try again."""
        try:
            response = await self._client.post(self._url, content=encode(batch, self._environment))
        except httpx.HTTPError as error:
            return type(error).__name__, True
        if response.status_code < 300:
            return None, False
        return f"status {response.status_code}", response.status_code in (401, 403, 408, 429) or (
            response.status_code >= 500
        )

    async def close(self) -> None:
        await self.flush()
        await self._client.aclose()
