"""GenAI metrics of all generations, and the points that cannot be used."""

from __future__ import annotations

import math

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
    Summary,
)

from watchkeeper.core.signals import Sample, Temporality
from watchkeeper.signals import otlp

DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
COUNTER = "gen_ai.client.inference.usage.output_tokens"
NOW = 1_790_000_000_000_000_000


def pairs(**values: str) -> list[KeyValue]:
    return [KeyValue(key=key.replace("__", "."), value=AnyValue(string_value=value)) for key, value in values.items()]


def decode(*metrics: Metric, service: str = "shop") -> otlp.Decoded:
    request = ExportMetricsServiceRequest()
    group = request.resource_metrics.add()
    group.resource.attributes.extend(pairs(service__name=service))
    group.scope_metrics.add().metrics.extend(metrics)
    return otlp.decode_metrics(request.SerializeToString(), "application/x-protobuf", "")


def samples(decoded: otlp.Decoded) -> list[Sample]:
    found = [signal for signal in decoded.signals if isinstance(signal, Sample)]
    assert len(found) == len(decoded.signals)
    return found


def counter(*points: NumberDataPoint) -> Metric:
    return Metric(name=COUNTER, unit="{token}", sum=Sum(aggregation_temporality=DELTA, data_points=points))


def test_a_counter_of_the_newest_names() -> None:
    point = NumberDataPoint(
        time_unix_nano=NOW, as_int=12, attributes=pairs(gen_ai__provider__name="azure", gen_ai__request__model="m")
    )
    (sample,) = samples(decode(counter(point)))
    assert (sample.name, sample.value, sample.unit) == ("tokens.output", 12.0, "{token}")
    assert (sample.temporality, str(sample.subject)) == (Temporality.DELTA, "service:shop")
    assert sample.labels == (("provider", "azure.ai.openai"), ("requested_model", "m"))


def test_a_duration_is_its_sum_and_its_count() -> None:
    point = HistogramDataPoint(time_unix_nano=NOW, count=4, sum=2.5, attributes=pairs(error__type="timeout"))
    exponential = ExponentialHistogramDataPoint(time_unix_nano=NOW + 5000, count=1, sum=0.5)
    name = "gen_ai.client.operation.duration"
    found = samples(
        decode(
            Metric(name=name, histogram=Histogram(aggregation_temporality=DELTA, data_points=[point])),
            Metric(
                name=name,
                exponential_histogram=ExponentialHistogram(aggregation_temporality=DELTA, data_points=[exponential]),
            ),
        )
    )
    assert [(sample.name, sample.value) for sample in found] == [
        ("duration.sum", 2.5),
        ("duration.count", 4.0),
        ("duration.sum", 0.5),
        ("duration.count", 1.0),
    ]
    assert found[0].labels == (("error", "timeout"),)


def test_a_gauge_has_no_temporality() -> None:
    metric = Metric(name=COUNTER, gauge=Gauge(data_points=[NumberDataPoint(time_unix_nano=NOW, as_double=1.5)]))
    (sample,) = samples(decode(metric))
    assert (sample.temporality, sample.value) == (Temporality.GAUGE, 1.5)


def test_without_a_service_the_model_is_the_subject() -> None:
    point = NumberDataPoint(time_unix_nano=NOW, as_int=1, attributes=pairs(gen_ai__request__model="gpt-4o"))
    (sample,) = samples(decode(counter(point), service="unknown_service:python"))
    assert str(sample.subject) == "model:gpt-4o"


def test_a_point_sent_again_has_the_same_id_and_another_has_not() -> None:
    first, later = NumberDataPoint(time_unix_nano=NOW, as_int=1), NumberDataPoint(time_unix_nano=NOW + 1, as_int=1)
    ids = [sample.id for sample in samples(decode(counter(first, later)))]
    assert len(set(ids)) == 2
    assert [sample.id for sample in samples(decode(counter(first, later)))] == ids


def test_other_metrics_are_ignored() -> None:
    histogram = Metric(name="gen_ai.client.inference.operation.input_tokens", histogram=Histogram())
    assert decode(Metric(name="process.cpu.time", sum=Sum()), histogram) == otlp.Decoded(())


UNUSABLE = {
    "no time": counter(NumberDataPoint(as_int=1)),
    "no value": counter(NumberDataPoint(time_unix_nano=NOW, flags=1)),
    "not finite": counter(NumberDataPoint(time_unix_nano=NOW, as_double=math.nan)),
    "no temporality": Metric(name=COUNTER, sum=Sum(data_points=[NumberDataPoint(time_unix_nano=NOW, as_int=1)])),
    "no token type": Metric(
        name="gen_ai.client.token.usage", gauge=Gauge(data_points=[NumberDataPoint(time_unix_nano=NOW, as_int=1)])
    ),
    "of another kind": Metric(name=COUNTER, summary=Summary()),
}


@pytest.mark.parametrize("problem", UNUSABLE)
def test_invariant_10_unusable_points_are_counted_and_told(problem: str) -> None:
    decoded = decode(UNUSABLE[problem])
    assert (decoded.signals, decoded.rejected, len(decoded.messages)) == ((), 1, 1)
    assert decoded.messages[0].startswith("resourceMetrics[0].scopeMetrics[0].metrics[0]")


def test_a_point_about_nothing_is_rejected() -> None:
    decoded = decode(counter(NumberDataPoint(time_unix_nano=NOW, as_int=1)), service="unknown_service")
    assert decoded.rejected == 1
    assert "neither a service nor a model" in decoded.messages[0]
