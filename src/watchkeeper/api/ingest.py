"""What telemetry and alerts are sent to. A 2xx means: durable. A malformed body gets a 4xx that names the place.

Every delivery is counted, taken or refused, a wrong token too: a sender's trouble shows in the status.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from watchkeeper.api.auth import Ingester, Wired, services
from watchkeeper.api.services import Services
from watchkeeper.core.errors import InputError, WatchkeeperError
from watchkeeper.core.model import Contract
from watchkeeper.core.signals import Signal
from watchkeeper.signals import alertmanager, otlp
from watchkeeper.signals.inbox import Accepted
from watchkeeper.signals.sources import SourceKind

SENDERS = {
    "/v1/traces": SourceKind.OTLP,
    "/v1/metrics": SourceKind.OTLP,
    "/v1/alerts/alertmanager": SourceKind.ALERTMANAGER,
}
MAX_BODY = otlp.MAX_COMPRESSED
PROTOBUF, JSON = "application/x-protobuf", "application/json"


class Counted(APIRoute):
    """Counts what is refused, wherever on the way that happens."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def counted(request: Request) -> Response:
            try:
                return await handle(request)
            except WatchkeeperError as error:
                services(request).book.failed(SENDERS[request.url.path], error.what)
                raise

        return counted


router = APIRouter(tags=["ingest"], route_class=Counted)


class TooLargeError(InputError):
    code = "too_large"
    http_status = 413


class Received(Contract):
    accepted: int
    duplicates: int


@router.post("/v1/traces")
async def traces(request: Request, wired: Wired, caller: Ingester) -> Response:
    """OTLP/HTTP traces: protobuf or JSON, gzip or plain."""
    # decoding is pure and may take a second for a full body: not on the loop that serves everybody
    decoded = await asyncio.to_thread(otlp.decode_traces, await _body(request), *_encoding(request))
    why = "; ".join(decoded.messages)
    await _take(wired, SourceKind.OTLP, decoded.signals, why)
    if not decoded.rejected:
        return _otlp_reply(request, ExportTraceServiceResponse(), {})
    partial = ExportTracePartialSuccess(rejected_spans=decoded.rejected, error_message=why)
    reply = ExportTraceServiceResponse(partial_success=partial)
    return _otlp_reply(request, reply, {"rejectedSpans": decoded.rejected, "errorMessage": why})


@router.post("/v1/metrics")
async def metrics(request: Request, wired: Wired, caller: Ingester) -> Response:
    """OTLP/HTTP metrics: protobuf or JSON, gzip or plain."""
    decoded = await asyncio.to_thread(otlp.decode_metrics, await _body(request), *_encoding(request))
    why = "; ".join(decoded.messages)
    await _take(wired, SourceKind.OTLP, decoded.signals, why)
    if not decoded.rejected:
        return _otlp_reply(request, ExportMetricsServiceResponse(), {})
    partial = ExportMetricsPartialSuccess(rejected_data_points=decoded.rejected, error_message=why)
    reply = ExportMetricsServiceResponse(partial_success=partial)
    return _otlp_reply(request, reply, {"rejectedDataPoints": decoded.rejected, "errorMessage": why})


@router.post("/v1/alerts/alertmanager")
async def alerts(request: Request, wired: Wired, caller: Ingester) -> Received:
    """Alertmanager's webhook, version 4."""
    events = alertmanager.decode(await _body(request), wired.alertmanager)
    accepted = await _take(wired, SourceKind.ALERTMANAGER, events)
    return Received(accepted=accepted.new, duplicates=accepted.duplicates)


async def _take(wired: Services, source: SourceKind, signals: Sequence[Signal], unusable: str = "") -> Accepted:
    accepted = await wired.intake.accept(source, signals)
    wired.book.delivered(source, accepted.new, accepted.duplicates, unusable)
    return accepted


async def _body(request: Request) -> bytes:
    """The whole body, refused as soon as it is larger than `MAX_BODY`."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY:
            raise TooLargeError(
                f"the body is larger than {MAX_BODY} bytes",
                place="(body)",
                cause="one export holds too many spans",
                next_step="lower the exporter's batch size",
            )
        parts.append(part)
    return b"".join(parts)


def _encoding(request: Request) -> tuple[str, str]:
    """Media type and content encoding, as they were sent."""
    return request.headers.get("content-type", ""), request.headers.get("content-encoding", "")


def _otlp_reply(
    request: Request, reply: ExportTraceServiceResponse | ExportMetricsServiceResponse, partial: dict[str, int | str]
) -> Response:
    """In the request's own encoding, as OTLP asks; `partial` is the reply's JSON form."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == JSON:
        return Response(json.dumps({"partialSuccess": partial} if partial else {}), media_type=JSON)
    return Response(reply.SerializeToString(), media_type=PROTOBUF)
