"""OTLP spans to `Span`. Every span is kept, for spans that are not GenAI carry the links between those that are.

A span's text (prompts, arguments, messages) does not get past here. It does NOT decide which spans report the same
call, nor believe one dialect more than another.
"""

from __future__ import annotations

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2
from pydantic import JsonValue

from watchkeeper.core.errors import InputError
from watchkeeper.core.signals import ErrorClass, Span, SpanOp
from watchkeeper.signals import names
from watchkeeper.signals.decoded import Collector, Decoded, instant, known
from watchkeeper.signals.faults import error_class
from watchkeeper.signals.names import Name

SOURCE = "otlp"

MIN_RATE = 1e-6
"""One span never stands for more than a million: a claim beyond that would drown everything measured."""

_TRACE_ID, _SPAN_ID = 16, 8
_THRESHOLD_DIGITS = 14
_EVERYTHING = 2.0**56
_OWN = "watchkeeper."
"""Our own attributes may be set once, on the resource, for all of a process's spans."""


def decode(request: ExportTraceServiceRequest) -> Decoded:
    collector = Collector()
    collector.visit(len(request.resource_spans), "resourceSpans")
    for number, group in enumerate(request.resource_spans):
        resource = known(group.resource.attributes)
        collector.visit(len(group.scope_spans), f"resourceSpans[{number}].scopeSpans")
        for inner, scope in enumerate(group.scope_spans):
            for last, span in enumerate(scope.spans):
                place = f"resourceSpans[{number}].scopeSpans[{inner}].spans[{last}]"
                _check_ids(span, place)
                if span.end_time_unix_nano:
                    collector.add(_span(span, resource), place)
                else:
                    collector.reject(f"{place}.endTimeUnixNano", "the span has no end")
    return collector.decoded()


def _check_ids(span: trace_pb2.Span, place: str) -> None:
    for field, value, size in (
        ("traceId", span.trace_id, _TRACE_ID),
        ("spanId", span.span_id, _SPAN_ID),
        ("parentSpanId", span.parent_span_id, _SPAN_ID),
    ):
        if field == "parentSpanId" and not any(value) and len(value) in (0, size):
            continue
        if len(value) != size or not any(value):
            raise InputError(
                f"the id must be {size} bytes and not all zero, but has {len(value)} bytes",
                cause="the sender is not an OpenTelemetry exporter, or something in between cut the id",
                next_step="send the ids as the exporter made them",
                place=f"{place}.{field}",
            )


def _span(span: trace_pb2.Span, resource: dict[str, JsonValue]) -> Span:
    attributes = {key: value for key, value in resource.items() if key.startswith(_OWN)}
    attributes |= _exception(span)
    attributes |= known(span.attributes)
    place = {**attributes, **resource}
    trace_id, span_id = span.trace_id.hex(), span.span_id.hex()
    op = names.operation(attributes)
    tool = names.text(attributes, Name.TOOL)
    at = instant(span.end_time_unix_nano)
    status = names.http_status(attributes)
    return Span(
        id=f"{trace_id}/{span_id}",
        source=SOURCE,
        at=at,
        trace_id=trace_id,
        span_id=span_id,
        parent_id=span.parent_span_id.hex() if any(span.parent_span_id) else None,
        # a clock that was set back meanwhile, or no start at all: the end is what counts
        started=min(at, instant(span.start_time_unix_nano or span.end_time_unix_nano)),
        op=op,
        run_id=names.text(attributes, Name.RUN) or trace_id,
        service=names.service(place),
        environment=names.text(place, Name.ENVIRONMENT),
        agent=names.text(attributes, Name.AGENT),
        key=names.key_hash(attributes),
        provider=names.provider(names.text(attributes, Name.PROVIDER)),
        model=names.text(attributes, Name.MODEL),
        requested_model=names.text(attributes, Name.REQUESTED_MODEL),
        deployment=names.deployment(attributes),
        call_id=names.text(attributes, Name.CALL),
        usage=names.usage(attributes),
        cost_usd=names.number(attributes, Name.COST, names.MAX_COST_USD),
        tool=tool,
        tool_call_digest=names.tool_call_digest(tool, attributes) if op is SpanOp.TOOL else "",
        finish_reason=names.finish_reason(attributes),
        error=_error(span, attributes, status),
        http_status=status,
        sampling_rate=sampling_rate(span.trace_state, attributes),
    )


def _exception(span: trace_pb2.Span) -> dict[str, JsonValue]:
    """What the last recorded exception says of the failure, for dialects that have no `error.type`."""
    if span.status.code != trace_pb2.Status.STATUS_CODE_ERROR:
        return {}
    recorded = [event for event in span.events if event.name == "exception"]
    return known(recorded[-1].attributes) if recorded else {}


def _error(span: trace_pb2.Span, attributes: dict[str, JsonValue], status: int | None) -> ErrorClass | None:
    kind = names.text(attributes, Name.ERROR_TYPE)
    failed = span.status.code == trace_pb2.Status.STATUS_CODE_ERROR or kind or (status is not None and status >= 400)
    if not failed:
        return None
    return error_class(
        status=status,
        kind=kind,
        message=f"{names.message(attributes)} {span.status.message}",
        limiter=names.text(attributes, Name.LIMITER),
    )


def sampling_rate(trace_state: str, attributes: dict[str, JsonValue]) -> float:
    """The share of traces kept: from OpenTelemetry's `ot=th:<hex>`, the threshold below which traces are rejected, or
    its older `ot=p:<n>` (one in 2^n); else from an attribute that a sampler left."""
    for member in trace_state.split(","):
        vendor, _, value = member.strip().partition("=")
        if vendor != "ot":
            continue
        for item in value.split(";"):
            key, _, threshold = item.partition(":")
            if key == "th" and 1 <= len(threshold) <= _THRESHOLD_DIGITS and set(threshold) <= _HEX:
                rejected = int(threshold.ljust(_THRESHOLD_DIGITS, "0"), 16)
                return max(MIN_RATE, 1 - rejected / _EVERYTHING)
            if key == "p" and threshold in _POWERS:
                return max(MIN_RATE, 0.5 ** int(threshold))
    share = names.number(attributes, Name.SAMPLED_SHARE, 1)
    one_in = names.number(attributes, Name.SAMPLED_ONE_IN, 1 / MIN_RATE)
    return max(MIN_RATE, share or 1 / max(1.0, one_in or 1.0))


_HEX = frozenset("0123456789abcdef")
_POWERS = frozenset(str(power) for power in range(63))
