"""Bodies: protobuf and JSON, plain and gzip, bounded, and refused with the place of what is wrong."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable

import pytest
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2
from pydantic import JsonValue

from watchkeeper.core.errors import InputError
from watchkeeper.core.signals import Span
from watchkeeper.signals import names, otlp
from watchkeeper.signals.decoded import MAX_MESSAGES

PROTOBUF, JSON = "application/x-protobuf", "application/json"


def spec_json(request: ExportTraceServiceRequest) -> bytes:
    """OTLP/JSON by protobuf's own mapping, then the specification's exceptions to it."""
    value = MessageToDict(request, use_integers_for_enums=True)
    for group in value.get("resourceSpans", []):
        for scope in group.get("scopeSpans", []):
            for span in scope.get("spans", []):
                for key in span.keys() & {"traceId", "spanId", "parentSpanId"}:
                    span[key] = base64.b64decode(span[key]).hex()
    return json.dumps(value).encode()


def ids(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size).filter(any)


text = st.text(st.characters(codec="utf-8"), max_size=12)
values = st.recursive(
    st.one_of(
        text.map(lambda value: AnyValue(string_value=value)),
        st.booleans().map(lambda value: AnyValue(bool_value=value)),
        st.integers(-(2**63), 2**63 - 1).map(lambda value: AnyValue(int_value=value)),
        st.floats().map(lambda value: AnyValue(double_value=value)),
        st.binary(max_size=8).map(lambda value: AnyValue(bytes_value=value)),
        st.just(AnyValue()),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: AnyValue(array_value=ArrayValue(values=items))),
        st.lists(st.builds(KeyValue, key=text, value=inner), max_size=3).map(
            lambda items: AnyValue(kvlist_value=KeyValueList(values=items))
        ),
    ),
    max_leaves=4,
)
attributes = st.lists(
    st.builds(KeyValue, key=st.one_of(st.sampled_from(sorted(names.KNOWN)), text), value=values), max_size=8
)
spans = st.builds(
    trace_pb2.Span,
    trace_id=ids(16),
    span_id=ids(8),
    parent_span_id=st.one_of(st.just(b""), ids(8)),
    trace_state=st.one_of(st.just(""), st.text("ot=h:;,0123456789abcdef", max_size=20)),
    name=text,
    kind=st.integers(0, 5),
    start_time_unix_nano=st.integers(0, 2**64 - 1),
    end_time_unix_nano=st.integers(0, 2**64 - 1),
    attributes=attributes,
    events=st.lists(
        st.builds(trace_pb2.Span.Event, name=st.sampled_from(["exception", "x"]), attributes=attributes), max_size=2
    ),
    status=st.builds(trace_pb2.Status, code=st.integers(0, 2), message=text),
)
requests = st.lists(
    st.builds(
        trace_pb2.ResourceSpans,
        resource=st.builds(Resource, attributes=attributes),
        scope_spans=st.lists(
            st.builds(trace_pb2.ScopeSpans, spans=st.lists(spans, max_size=3)),
            max_size=2,
        ),
    ),
    max_size=2,
).map(lambda groups: ExportTraceServiceRequest(resource_spans=groups))


@given(requests)
def test_json_protobuf_and_gzip_mean_the_same(request: ExportTraceServiceRequest) -> None:
    plain = otlp.decode_traces(request.SerializeToString(), PROTOBUF, "")
    assert otlp.decode_traces(spec_json(request), f"{JSON}; charset=utf-8", "identity") == plain
    assert otlp.decode_traces(gzip.compress(request.SerializeToString()), PROTOBUF, "gzip") == plain
    count = sum(len(scope.spans) for group in request.resource_spans for scope in group.scope_spans)
    assert len(plain.signals) + plain.rejected == count


def good() -> dict[str, JsonValue]:
    return {
        "traceId": "0123456789abcdef0123456789ABCDEF",
        "spanId": "0123456789abcdef",
        "name": "chat",
        "startTimeUnixNano": "1790000000000000000",
        "endTimeUnixNano": 1790000001000000000,
        "attributes": [{"key": "gen_ai.usage.input_tokens", "value": {"intValue": "12"}}],
        "aFieldOfTomorrow": {"x": 1},
        "status": None,
    }


def body(span: JsonValue) -> bytes:
    first: JsonValue = {"scopeSpans": []}
    second: JsonValue = {"scopeSpans": [{"spans": []}, {"spans": [good(), span]}]}
    return json.dumps({"resourceSpans": [first, second]}).encode()


def test_the_specifications_json_is_read() -> None:
    decoded = otlp.decode_traces(body(good()), JSON, "")
    span = decoded.signals[0]
    assert isinstance(span, Span)
    assert span.trace_id == "0123456789abcdef0123456789abcdef"
    assert span.usage is not None
    assert span.usage.input == 12
    assert span.at.isoformat() == "2026-09-21T14:13:21+00:00"


PLACE = "resourceSpans[1].scopeSpans[1].spans[1]"


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"traceId": "0123"}, "traceId"),
        ({"traceId": "0" * 32}, "traceId"),
        ({"traceId": "x" * 32}, "traceId"),
        ({"traceId": 5}, "traceId"),
        ({"traceId": None}, "traceId"),
        ({"spanId": "0123456789abcdef00"}, "spanId"),
        ({"parentSpanId": "01"}, "parentSpanId"),
        ({"name": 5}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"kind": "SPAN_KIND_CLIENT"}, "kind"),
        ({"kind": 2**40}, "kind"),
        ({"startTimeUnixNano": "soon"}, "startTimeUnixNano"),
        ({"startTimeUnixNano": -1}, "startTimeUnixNano"),
        ({"startTimeUnixNano": 2**64}, "startTimeUnixNano"),
        ({"startTimeUnixNano": True}, "startTimeUnixNano"),
        ({"startTimeUnixNano": 1.5}, "startTimeUnixNano"),
        ({"attributes": {}}, "attributes"),
        ({"attributes": [5]}, "attributes[0]"),
        ({"attributes": [{"key": "a", "value": {"boolValue": "yes"}}]}, "attributes[0].value.boolValue"),
        ({"attributes": [{"key": "a", "value": {"doubleValue": "x"}}]}, "attributes[0].value.doubleValue"),
        ({"attributes": [{"key": "a", "value": {"bytesValue": "?"}}]}, "attributes[0].value.bytesValue"),
        (
            {"attributes": [{"key": "a", "value": {"arrayValue": {"values": [{}, "x"]}}}]},
            "attributes[0].value.arrayValue.values[1]",
        ),
        ({"status": []}, "status"),
    ],
)
def test_the_malformed_field_is_named(change: dict[str, JsonValue], place: str) -> None:
    with pytest.raises(InputError) as refused:
        otlp.decode_traces(body(good() | change), JSON, "")
    assert refused.value.place == f"{PLACE}.{place}"
    assert refused.value.next_step


def test_the_malformed_id_is_named_in_protobuf_too() -> None:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(trace_id=b"x" * 15, span_id=b"x" * 8)
    with pytest.raises(InputError) as refused:
        otlp.decode_traces(request.SerializeToString(), PROTOBUF, "")
    assert refused.value.place == "resourceSpans[0].scopeSpans[0].spans[0].traceId"


def test_invariant_10_spans_without_an_end_are_counted_and_told() -> None:
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for number in range(1, 9):
        scope.spans.add(trace_id=b"t" * 16, span_id=bytes([number] * 8))
    decoded = otlp.decode_traces(request.SerializeToString(), PROTOBUF, "")
    assert (decoded.signals, decoded.rejected, len(decoded.messages)) == ((), 8, MAX_MESSAGES)
    assert decoded.messages[0].startswith("resourceSpans[0].scopeSpans[0].spans[0].endTimeUnixNano")


def test_a_clock_set_back_during_the_span_does_not_lose_it() -> None:
    span = good() | {"startTimeUnixNano": "1790000009000000000"}
    decoded = otlp.decode_traces(body(span), JSON, "").signals[1]
    assert isinstance(decoded, Span)
    assert decoded.started == decoded.at


def test_invariant_10_a_gzip_bomb_is_refused_before_it_is_whole() -> None:
    bomb = gzip.compress(bytes(otlp.MAX_DECOMPRESSED + 1))
    assert len(bomb) < 2**20
    with pytest.raises(InputError, match="larger than"):
        otlp.decode_traces(bomb, PROTOBUF, "gzip")


def test_invariant_10_a_bomb_of_many_members_is_refused() -> None:
    half = gzip.compress(bytes(otlp.MAX_DECOMPRESSED // 2 + 1))
    with pytest.raises(InputError, match="larger than"):
        otlp.decode_traces(half + half, PROTOBUF, "gzip")


def test_gzip_of_several_members_is_one_body() -> None:
    whole = body(good())
    parts = gzip.compress(whole[:100]) + gzip.compress(whole[100:])
    assert otlp.decode_traces(parts, JSON, "gzip") == otlp.decode_traces(whole, JSON, "")


def test_invariant_10_a_body_beyond_the_bound_is_refused() -> None:
    with pytest.raises(InputError, match="larger than"):
        otlp.decode_traces(bytes(otlp.MAX_COMPRESSED + 1), PROTOBUF, "")


def test_invariant_10_too_many_spans_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watchkeeper.signals.decoded.MAX_ITEMS", 10)
    request = ExportTraceServiceRequest()
    span = trace_pb2.Span(trace_id=b"t" * 16, span_id=b"s" * 8, end_time_unix_nano=1)
    request.resource_spans.add().scope_spans.add().spans.extend([span] * 11)
    with pytest.raises(InputError) as refused:
        otlp.decode_traces(request.SerializeToString(), PROTOBUF, "")
    assert refused.value.place.endswith("spans[10]")


@pytest.mark.parametrize(
    ("content", "content_type", "encoding", "place"),
    [
        (b"\xff\xff\xff", PROTOBUF, "", "body"),
        (b"{", JSON, "", "body"),
        (b"[" * 200_000, JSON, "", "body"),
        (b"[]", JSON, "", "body"),
        (b"", "text/plain", "", "content-type"),
        (b"", PROTOBUF, "br", "content-encoding"),
        (b"not gzip", PROTOBUF, "gzip", "body"),
        (b"", PROTOBUF, "gzip", "body"),
        (gzip.compress(b"x" * 5000, mtime=0)[:-9], PROTOBUF, "gzip", "body"),
        (gzip.compress(b"", mtime=0) + b"trailing", PROTOBUF, "gzip", "body"),
    ],
)
def test_undecodable_bodies_are_refused(content: bytes, content_type: str, encoding: str, place: str) -> None:
    with pytest.raises(InputError) as refused:
        otlp.decode_traces(content, content_type, encoding)
    assert refused.value.place == place


def test_deep_nesting_is_refused_at_its_place() -> None:
    value: JsonValue = {"stringValue": "x"}
    for _ in range(40):
        value = {"arrayValue": {"values": [value]}}
    with pytest.raises(InputError, match="nested deeper") as refused:
        otlp.decode_traces(body(good() | {"attributes": [{"key": "a", "value": value}]}), JSON, "")
    assert refused.value.place.startswith(f"{PLACE}.attributes[0].value.arrayValue")


WORDS = ["resourceSpans", "resource", "scopeSpans", "spans", "traceId", "spanId", "attributes", "key", "value"]
WORDS += ["resourceMetrics", "scopeMetrics", "metrics", "name", "sum", "histogram", "dataPoints", "intValue"]
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.sampled_from(["ab" * 16])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(st.sampled_from(WORDS), st.text()), inner, max_size=5)
    ),
    max_leaves=30,
)
decoders = st.sampled_from([otlp.decode_traces, otlp.decode_metrics])
Decoder = Callable[[bytes, str, str], otlp.Decoded]


def refused_or_read(decoder: Decoder, content: bytes, content_type: str, encoding: str) -> None:
    place = "a place"
    try:
        decoded = decoder(content, content_type, encoding)
    except InputError as error:
        place, decoded = error.place, otlp.Decoded(())
    assert place
    assert decoded.rejected >= len(decoded.messages)


@given(decoders, st.binary(max_size=300), st.sampled_from([PROTOBUF, JSON]), st.sampled_from(["", "gzip"]))
def test_arbitrary_bytes_are_read_or_refused(decoder: Decoder, content: bytes, kind: str, encoding: str) -> None:
    refused_or_read(decoder, content, kind, encoding)


@given(decoders, json_values)
def test_arbitrary_json_is_read_or_refused(decoder: Decoder, value: JsonValue) -> None:
    refused_or_read(decoder, json.dumps(value).encode(), JSON, "")


@given(decoders, requests, st.data())
def test_damaged_protobuf_is_read_or_refused(
    decoder: Decoder, request: ExportTraceServiceRequest, data: st.DataObject
) -> None:
    content = bytearray(request.SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    refused_or_read(decoder, bytes(content), PROTOBUF, "")


def test_a_number_out_of_range_in_a_list_is_named() -> None:
    point = {"timeUnixNano": "1", "bucketCounts": ["1", "99999999999999999999"]}
    metric = {"name": "gen_ai.client.token.usage", "histogram": {"aggregationTemporality": 2, "dataPoints": [point]}}
    body = json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}).encode()
    with pytest.raises(InputError) as refused:
        otlp.decode_metrics(body, JSON)
    place = "resourceMetrics[0].scopeMetrics[0].metrics[0].histogram.dataPoints[0].bucketCounts[1]"
    assert refused.value.place == place


@pytest.mark.parametrize("decode", [otlp.decode_traces, otlp.decode_metrics])
def test_invariant_10_a_body_of_empty_groups_is_refused_before_they_are_looked_at(
    decode: Callable[[bytes, str], otlp.Decoded],
) -> None:
    with pytest.raises(InputError, match="more than") as refused:
        decode(b"\x0a\x00" * 100_000, PROTOBUF)
    assert refused.value.place in ("resourceSpans", "resourceMetrics")


def test_invariant_10_a_gzip_body_of_very_many_members_is_refused() -> None:
    with pytest.raises(InputError, match="members"):
        otlp.decode_traces(gzip.compress(b"") * 1000, PROTOBUF, "gzip")
