"""What telemetry and alerts are sent to. A 2xx means: durable. A malformed body gets a 4xx that names the place."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from watchkeeper.api.auth import Ingester, Wired
from watchkeeper.core.errors import InputError
from watchkeeper.core.model import Contract
from watchkeeper.signals import alertmanager, otlp

router = APIRouter(tags=["ingest"])

MAX_BODY = otlp.MAX_COMPRESSED


class Received(Contract):
    accepted: int
    duplicates: int


async def _body(request: Request) -> bytes:
    """The whole body, refused as soon as it is larger than `MAX_BODY`."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY:
            raise InputError(
                f"the body is larger than {MAX_BODY} bytes",
                cause="one export holds too many spans",
                next_step="lower the exporter's batch size",
            )
        parts.append(part)
    return b"".join(parts)


@router.post("/v1/traces")
async def traces(request: Request, wired: Wired, caller: Ingester) -> Response:
    """OTLP/HTTP traces: protobuf or JSON, gzip or plain."""
    body = await _body(request)
    decoded = otlp.decode_traces(body, *_encoding(request))
    await wired.intake.accept("otlp", decoded.signals)
    return _otlp_reply(request, ExportTraceServiceResponse(), decoded.rejected, decoded.messages)


@router.post("/v1/metrics")
async def metrics(request: Request, wired: Wired, caller: Ingester) -> Response:
    """OTLP/HTTP metrics: protobuf or JSON, gzip or plain."""
    body = await _body(request)
    decoded = otlp.decode_metrics(body, *_encoding(request))
    await wired.intake.accept("otlp", decoded.signals)
    return _otlp_reply(request, ExportMetricsServiceResponse(), decoded.rejected, decoded.messages)


@router.post("/v1/alerts/alertmanager")
async def alerts(request: Request, wired: Wired, caller: Ingester) -> Received:
    """Alertmanager's webhook, version 4."""
    events = alertmanager.decode(await _body(request), wired.alertmanager)
    accepted = await wired.intake.accept("alertmanager", events)
    return Received(accepted=accepted.new, duplicates=accepted.duplicates)
