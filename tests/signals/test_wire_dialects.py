"""The same call, told in every dialect, comes to the same span."""

from __future__ import annotations

import hashlib
import json

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2

from watchkeeper.core.signals import ErrorClass, Span, SpanOp, Usage
from watchkeeper.signals import otlp

TRACE, SPAN, PARENT = bytes(range(1, 17)), bytes(range(1, 9)), bytes(range(2, 10))
START, END = 1_790_000_000_000_000_000, 1_790_000_002_500_000_000

Value = str | bool | int | float | list[str]


def any_value(value: Value) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case str():
            return AnyValue(string_value=value)
        case list():
            return AnyValue(array_value=ArrayValue(values=[any_value(item) for item in value]))


def pairs(values: dict[str, Value]) -> list[KeyValue]:
    return [KeyValue(key=key, value=any_value(value)) for key, value in values.items()]


def decode(
    attributes: dict[str, Value], *, resource: dict[str, Value] | None = None, span: trace_pb2.Span | None = None
) -> Span:
    base = trace_pb2.Span(
        trace_id=TRACE, span_id=SPAN, start_time_unix_nano=START, end_time_unix_nano=END, attributes=pairs(attributes)
    )
    if span is not None:
        base.MergeFrom(span)
    group = trace_pb2.ResourceSpans(
        resource=Resource(attributes=pairs(resource or {})), scope_spans=[trace_pb2.ScopeSpans(spans=[base])]
    )
    body = ExportTraceServiceRequest(resource_spans=[group]).SerializeToString()
    decoded = otlp.decode_traces(body, "application/x-protobuf", "")
    assert (decoded.rejected, decoded.messages, len(decoded.signals)) == (0, (), 1)
    (signal,) = decoded.signals
    assert isinstance(signal, Span)
    return signal


MODEL_CALLS: dict[str, dict[str, Value]] = {
    "older opentelemetry": {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.usage.prompt_tokens": 120,
        "gen_ai.usage.completion_tokens": 30,
        "gen_ai.response.finish_reasons": ["stop"],
        "session.id": "run-1",
    },
    "opentelemetry 1.41": {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.usage.input_tokens": 120,
        "gen_ai.usage.output_tokens": 30,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.conversation.id": "run-1",
    },
    "genai repository": {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.usage.input_tokens": 120,
        "gen_ai.usage.output_tokens": 30,
        "gen_ai.response.finish_reasons": ["stop", "length"],
        "gen_ai.conversation.id": "run-1",
        "gen_ai.input.messages": '[{"role":"user"}]',
    },
    "litellm": {
        "gen_ai.operation.name": "acompletion",
        "gen_ai.system": "openai",
        "litellm.model_group": "gpt-4o",
        "gen_ai.request.model": "openai/gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.usage.input_tokens": "120",
        "gen_ai.usage.output_tokens": "30",
        "gen_ai.usage.total_tokens": 150,
        "gen_ai.response.finish_reasons": '["stop"]',
        "watchkeeper.run.id": "run-1",
        "session.id": "another",
    },
    "openinference": {
        "openinference.span.kind": "LLM",
        "llm.system": "openai",
        "llm.request.model_name": "gpt-4o",
        "llm.model_name": "gpt-4o-2024-08-06",
        "gen_ai.response.id": "chatcmpl-1",
        "llm.token_count.prompt": 120,
        "llm.token_count.completion": 30,
        "llm.token_count.total": 150,
        "llm.finish_reason": "stop",
        "session.id": "run-1",
        "input.value": "what the user wrote",
    },
}


@pytest.mark.parametrize("dialect", MODEL_CALLS)
def test_one_model_call_in_every_dialect(dialect: str) -> None:
    span = decode(MODEL_CALLS[dialect], resource={"service.name": "shop", "deployment.environment.name": "production"})
    assert (span.op, span.provider, span.requested_model, span.model) == (
        SpanOp.MODEL,
        "openai",
        "gpt-4o",
        "gpt-4o-2024-08-06",
    )
    assert (span.call_id, span.run_id, span.finish_reason) == ("chatcmpl-1", "run-1", "stop")
    assert span.usage == Usage(input=120, output=30)
    assert (span.service, span.environment, span.source) == ("shop", "production", "otlp")
    assert span.id == f"{TRACE.hex()}/{SPAN.hex()}"
    assert (span.at - span.started).total_seconds() == 2.5
    assert (span.error, span.sampling_rate, span.parent_id) == (None, 1.0, None)


TOOL_CALLS: list[dict[str, Value]] = [
    {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search",
        "gen_ai.tool.call.arguments": '{"a":1, "b":"x"}',
    },
    {"openinference.span.kind": "TOOL", "tool.name": "search", "input.value": '{ "b": "x", "a": 1 }'},
    {"tool_call.function.name": "search", "tool_call.function.arguments": '{"b":"x","a":1}'},
]


def test_a_tool_call_has_one_digest_in_every_dialect_and_no_text() -> None:
    spans = [decode(attributes) for attributes in TOOL_CALLS]
    expected = "sha256:" + hashlib.sha256(b'["search",{"a":1,"b":"x"}]').hexdigest()
    assert {(span.op, span.tool, span.tool_call_digest) for span in spans} == {(SpanOp.TOOL, "search", expected)}


def test_other_arguments_or_another_tool_make_another_digest() -> None:
    base: dict[str, Value] = {"openinference.span.kind": "TOOL", "tool.name": "a", "input.value": "x"}
    digests = {decode(base | change).tool_call_digest for change in ({}, {"tool.name": "b"}, {"input.value": "y"})}
    assert len(digests) == 3


def test_without_recorded_arguments_equality_is_not_claimed() -> None:
    span = decode({"openinference.span.kind": "TOOL", "tool.name": "a", "tool.parameters": '{"type":"object"}'})
    assert (span.op, span.tool_call_digest) == (SpanOp.TOOL, "")


def test_no_text_of_anybody_gets_past() -> None:
    secret = "my name is Ada and my card is 4111"
    span = decode(
        {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "pay",
            "gen_ai.tool.call.arguments": secret,
            "gen_ai.input.messages": secret,
            "input.value": secret,
            "output.value": secret,
            "user.id": secret,
            "error.message": secret,
        },
        span=trace_pb2.Span(name=secret, status=trace_pb2.Status(code=2, message=secret)),  # type: ignore[arg-type]
    )
    assert secret not in span.model_dump_json()


@pytest.mark.parametrize(
    ("attributes", "op"),
    [
        ({"gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": "m"}, SpanOp.AGENT),
        ({"gen_ai.operation.name": "create_agent"}, SpanOp.OTHER),
        ({"gen_ai.operation.name": "fetch_response", "gen_ai.request.model": "m", "gen_ai.system": "o"}, SpanOp.OTHER),
        ({"gen_ai.operation.name": "invoke_workflow"}, SpanOp.WORKFLOW),
        ({"gen_ai.operation.name": "embeddings"}, SpanOp.MODEL),
        ({"gen_ai.operation.name": "retrieval"}, SpanOp.RETRIEVAL),
        ({"gen_ai.operation.name": "brand_new", "gen_ai.request.model": "m", "gen_ai.system": "o"}, SpanOp.MODEL),
        ({"openinference.span.kind": "CHAIN"}, SpanOp.WORKFLOW),
        ({"openinference.span.kind": "RETRIEVER"}, SpanOp.RETRIEVAL),
        ({"openinference.span.kind": "GUARDRAIL"}, SpanOp.OTHER),
        ({"http.route": "/pay", "db.system": "postgresql"}, SpanOp.OTHER),
    ],
)
def test_operations(attributes: dict[str, Value], op: SpanOp) -> None:
    assert decode(attributes).op is op


def test_spans_that_are_not_genai_keep_their_links() -> None:
    span = decode({"http.route": "/"}, span=trace_pb2.Span(parent_span_id=PARENT))
    assert (span.op, span.parent_id, span.run_id, span.usage) == (SpanOp.OTHER, PARENT.hex(), TRACE.hex(), None)


@pytest.mark.parametrize(
    ("attributes", "usage"),
    [
        # cached within the input, as OpenTelemetry and OpenAI have it
        ({"gen_ai.usage.input_tokens": 100, "gen_ai.usage.cache_read.input_tokens": 80}, Usage(input=100, cached=80)),
        # cached beside the input, as Anthropic counts: 5 fresh, 80 read, 20 written
        (
            {
                "gen_ai.usage.input_tokens": 5,
                "gen_ai.usage.output_tokens": 7,
                "gen_ai.usage.cache_read.input_tokens": 80,
                "gen_ai.usage.cache_creation.input_tokens": 20,
            },
            Usage(input=105, output=7, cached=80),
        ),
        # the total tells that the cached are beside the input
        (
            {
                "llm.token_count.prompt": 100,
                "llm.token_count.completion": 10,
                "llm.token_count.total": 150,
                "llm.token_count.prompt_details.cache_read": 40,
            },
            Usage(input=140, output=10, cached=40),
        ),
        (
            {"gen_ai.usage.output_tokens": 10, "gen_ai.usage.reasoning.output_tokens": 50},
            Usage(output=60, reasoning=50),
        ),
        ({"llm.usage.total_tokens": 33}, Usage(input=33)),
        ({"gen_ai.usage.input_tokens": -4}, None),
        ({"gen_ai.usage.input_tokens": 2**62}, None),
        ({"gen_ai.usage.input_tokens": True}, None),
        ({"gen_ai.usage.input_tokens": "many"}, None),
    ],
)
def test_token_semantics(attributes: dict[str, Value], usage: Usage | None) -> None:
    assert decode(attributes).usage == usage


def test_a_raw_key_is_never_taken_and_a_hash_is() -> None:
    assert decode({"metadata.user_api_key_hash": "ab12" * 16}).key == "ab12" * 16
    assert decode({}, resource={"watchkeeper.key.hash": "cd34" * 16}).key == "cd34" * 16


@pytest.mark.parametrize("secret", ["sk-1234567890", "AKIAIOSFODNN7EXAMPLE", "hunter2", "ab12", "AB12" * 16, "a" * 65])
def test_no_text_but_a_hash_becomes_a_key(secret: str) -> None:
    assert decode({"watchkeeper.key.hash": secret}).key == ""


@pytest.mark.parametrize("wide", ["\U0001f525", "é", '"', "\\"])
def test_a_name_is_bounded_as_it_is_written(wide: str) -> None:
    just, over = wide * 63, wide * 257
    assert decode({"gen_ai.agent.name": just}).agent == just
    assert decode({"gen_ai.agent.name": over}).agent == f"sha256:{hashlib.sha256(over.encode()).hexdigest()}"
    assert len(json.dumps(decode({"gen_ai.agent.name": wide * 128}).agent, ensure_ascii=False).encode()) <= 258


def test_the_deployment_is_read_from_litellms_notes() -> None:
    assert decode({"hidden_params": '{"model_id": "dep-1", "api_base": "https://x"}'}).deployment == "dep-1"
    assert decode({"hidden_params": "not json"}).deployment == ""
    assert (
        decode({"hidden_params": '{"model_id": "dep-1"}', "watchkeeper.deployment.id": "dep-2"}).deployment == "dep-2"
    )


def test_providers_have_one_name() -> None:
    names = [decode({"gen_ai.system": name}).provider for name in ("az.ai.openai", "azure", "Azure.AI.OpenAI")]
    assert names == ["azure.ai.openai"] * 3


def test_names_are_bounded_and_printable() -> None:
    span = decode({"gen_ai.agent.name": "x" * 5000, "gen_ai.tool.name": "a\x00\x1b[31mb"})
    assert span.agent.startswith("sha256:")
    assert span.tool == "a[31mb"


@pytest.mark.parametrize(
    ("state", "rate"),
    [
        ("", 1.0),
        ("ot=th:0", 1.0),
        ("ot=th:8", 0.5),
        ("congo=t61,ot=rv:123;th:c", 0.25),
        ("ot=th:fd70a4", 1 - 0xFD70A4 / 0x1000000),
        ("ot=th:ffffffffffffff", 1e-6),
        ("ot=th:xyz", 1.0),
        ("ot=th:123456789012345", 1.0),
        ("other=th:8", 1.0),
    ],
)
def test_sampling_is_read_from_the_trace_state(state: str, rate: float) -> None:
    assert decode({}, span=trace_pb2.Span(trace_state=state)).sampling_rate == rate


ERROR = trace_pb2.Status.STATUS_CODE_ERROR


@pytest.mark.parametrize(
    ("attributes", "status", "error"),
    [
        ({}, trace_pb2.Status(), None),
        ({"http.response.status_code": 200}, trace_pb2.Status(), None),
        ({"error.type": "429"}, trace_pb2.Status(code=ERROR), ErrorClass.RATE_LIMITED),
        ({"error.type": "RateLimitError"}, trace_pb2.Status(code=ERROR), ErrorClass.RATE_LIMITED),
        ({"http.response.status_code": 503}, trace_pb2.Status(), ErrorClass.SERVER),
        ({"http.response.status_code": 504}, trace_pb2.Status(), ErrorClass.TIMEOUT),
        ({"http.status_code": "401"}, trace_pb2.Status(), ErrorClass.AUTH),
        ({"http.response.status_code": 400}, trace_pb2.Status(), ErrorClass.CLIENT),
        ({"error.type": "openai.APITimeoutError"}, trace_pb2.Status(), ErrorClass.TIMEOUT),
        ({"error.type": "APIConnectionError"}, trace_pb2.Status(), ErrorClass.SERVER),
        ({"error.type": "connection_error"}, trace_pb2.Status(), ErrorClass.SERVER),
        ({}, trace_pb2.Status(code=ERROR), ErrorClass.OTHER),
        ({"error.type": "_OTHER"}, trace_pb2.Status(), ErrorClass.OTHER),
    ],
)
def test_errors(attributes: dict[str, Value], status: trace_pb2.Status, error: ErrorClass | None) -> None:
    assert decode(attributes, span=trace_pb2.Span(status=status)).error == error


@pytest.mark.parametrize(
    "attributes",
    [
        {"error.type": "BudgetExceededError", "http.response.status_code": 422},
        {"error.type": "429", "error.message": "ExceededBudget: Key over 1d budget. Spend=2, Budget=1"},
        {"error.type": "ProxyException", "error.message": "Crossed TPM / RPM / Max Parallel Request Limit"},
        {"http.response.status_code": 429, "error.message": "Rate limit exceeded for api_key: x. Limit type: tokens."},
        {"http.response.status_code": 429, "rate_limit_category": "litellm_rate_limit"},
    ],
)
def test_invariant_12_a_refusal_by_our_own_limit_is_no_provider_fault(attributes: dict[str, Value]) -> None:
    error = decode(attributes).error
    assert error is ErrorClass.LIMITED
    assert not error.provider_fault


def test_a_vendors_limit_is_the_providers() -> None:
    span = decode({"http.response.status_code": 429, "rate_limit_category": "vendor_rate_limit"})
    assert span.error is ErrorClass.RATE_LIMITED


def test_a_recorded_exception_tells_where_no_error_type_does() -> None:
    event = trace_pb2.Span.Event(name="exception", attributes=pairs({"exception.type": "ReadTimeout"}))
    failed = trace_pb2.Span(status=trace_pb2.Status(code=ERROR), events=[event])
    assert decode({}, span=failed).error is ErrorClass.TIMEOUT
    assert decode({}, span=trace_pb2.Span(events=[event])).error is None


def test_a_structured_argument_is_digested_like_its_text() -> None:
    group = AnyValue()
    group.kvlist_value.values.add(key="a", value=any_value(1))
    span = trace_pb2.Span(attributes=[KeyValue(key="gen_ai.tool.call.arguments", value=group)])
    tool: dict[str, Value] = {"openinference.span.kind": "TOOL", "tool.name": "t"}
    told, written = decode(tool, span=span), decode(tool | {"input.value": '{"a": 1}'})
    assert told.tool_call_digest == written.tool_call_digest != ""


@pytest.mark.parametrize(
    ("state", "attributes", "rate"),
    [
        ("ot=p:3;r:5", {}, 0.125),
        ("ot=p:0", {}, 1.0),
        ("", {"sampling.probability": 0.1}, 0.1),
        ("", {"SampleRate": 20}, 0.05),
        ("ot=th:8", {"sampling.probability": 0.1}, 0.5),
        ("", {"sampling.probability": 7}, 1.0),
        ("", {"sampling.probability": 0}, 1.0),
        ("", {"SampleRate": 0}, 1.0),
    ],
)
def test_sampling_is_read_from_what_other_samplers_leave(state: str, attributes: dict[str, Value], rate: float) -> None:
    assert decode(attributes, span=trace_pb2.Span(trace_state=state)).sampling_rate == rate


def test_the_unofficial_names_of_cached_and_reasoning_tokens_are_read() -> None:
    found = decode(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.system": "anthropic",
            "gen_ai.usage.input_tokens": 10,
            "gen_ai.usage.output_tokens": 9,
            "gen_ai.usage.cache_read_input_tokens": 900,
            "gen_ai.usage.cache_creation_input_tokens": 40,
            "gen_ai.usage.reasoning_tokens": 4,
        }
    )
    assert found.usage == Usage(input=950, output=9, cached=900, reasoning=4)
