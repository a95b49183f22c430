"""What a real OpenTelemetry SDK and its OTLP/HTTP exporter send over a socket is read as meant."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import NamedTuple

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Status, StatusCode

from watchkeeper.core.signals import ErrorClass, Sample, Span, SpanOp, Temporality, Usage
from watchkeeper.signals import otlp


class Post(NamedTuple):
    path: str
    body: bytes
    content_type: str
    content_encoding: str


class Receiver(NamedTuple):
    url: str
    posts: list[Post]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    posts: list[Post] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            kind, encoding = self.headers.get("content-type", ""), self.headers.get("content-encoding", "")
            posts.append(Post(self.path, body, kind, encoding))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Tests are quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield Receiver(f"http://127.0.0.1:{server.server_address[1]}", posts)
        server.shutdown()
        thread.join()


RESOURCE = Resource.create({"service.name": "shop", "deployment.environment.name": "staging"})


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_the_sdks_traces(receiver: Receiver, compression: Compression) -> None:
    provider = TracerProvider(resource=RESOURCE)
    exporter = OTLPSpanExporter(endpoint=f"{receiver.url}/v1/traces", compression=compression)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    agent_attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "buyer"}
    with tracer.start_as_current_span("invoke_agent buyer", attributes=agent_attributes):
        with tracer.start_as_current_span("chat") as chat:
            chat.set_attributes(
                {
                    "gen_ai.operation.name": "chat",
                    "gen_ai.provider.name": "anthropic",
                    "gen_ai.request.model": "claude-sonnet-4-5",
                    "gen_ai.usage.input_tokens": 10,
                    "gen_ai.usage.output_tokens": 2,
                    "gen_ai.response.finish_reasons": ["tool_use"],
                }
            )
        with tracer.start_as_current_span("POST") as failed:
            failed.record_exception(TimeoutError("read timeout"))
            failed.set_status(Status(StatusCode.ERROR))
    provider.shutdown()

    (post,) = receiver.posts
    decoded = otlp.decode_traces(post.body, post.content_type, post.content_encoding)
    found = {span.op: span for span in decoded.signals if isinstance(span, Span)}
    assert decoded.rejected == 0
    assert set(found) == {SpanOp.AGENT, SpanOp.MODEL, SpanOp.OTHER}
    agent, model, other = found[SpanOp.AGENT], found[SpanOp.MODEL], found[SpanOp.OTHER]
    assert (agent.agent, agent.parent_id, agent.run_id) == ("buyer", None, agent.trace_id)
    assert (model.parent_id, model.trace_id, model.run_id) == (agent.span_id, agent.trace_id, agent.run_id)
    assert (model.provider, model.usage, model.finish_reason) == ("anthropic", Usage(input=10, output=2), "tool_use")
    assert (model.service, model.environment) == ("shop", "staging")
    assert other.error is ErrorClass.TIMEOUT


def test_the_sdks_metrics(receiver: Receiver) -> None:
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"{receiver.url}/v1/metrics"))
    provider = MeterProvider(resource=RESOURCE, metric_readers=[reader])
    meter = provider.get_meter("test")
    usage = meter.create_histogram("gen_ai.client.token.usage", unit="{token}")
    for kind, tokens in (("input", 10), ("input", 20), ("output", 5)):
        usage.record(tokens, {"gen_ai.token.type": kind, "gen_ai.request.model": "gpt-4o", "gen_ai.system": "openai"})
    meter.create_counter("gen_ai.client.inference.usage.input_tokens").add(7, {"gen_ai.token.modality": "text"})
    meter.create_counter("http.server.requests").add(1)
    provider.shutdown()

    found: dict[tuple[str, str], float] = {}
    for post in receiver.posts:
        decoded = otlp.decode_metrics(post.body, post.content_type, post.content_encoding)
        assert decoded.rejected == 0
        for sample in decoded.signals:
            assert isinstance(sample, Sample)
            assert (str(sample.subject), sample.temporality) == ("service:shop", Temporality.CUMULATIVE)
            found[sample.name, dict(sample.labels).get("model", dict(sample.labels).get("modality", ""))] = sample.value
    assert found == {
        ("tokens.input", ""): 30.0,
        ("tokens.output", ""): 5.0,
        ("tokens.input", "text"): 7.0,
    }
