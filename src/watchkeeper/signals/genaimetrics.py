"""OTLP metrics to `Sample`: the GenAI ones that the table names, of every generation.

A histogram becomes its sum (and its count, for durations); percentiles are NOT kept. Metrics are a second account of
what spans and gateway logs report call by call, and are never added to them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    DataPointFlags,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
)
from pydantic import JsonValue

from watchkeeper.core.model import Labels
from watchkeeper.core.signals import Sample, Temporality
from watchkeeper.core.subjects import Subject, SubjectKind
from watchkeeper.signals import names
from watchkeeper.signals.decoded import Collector, Decoded, instant, known
from watchkeeper.signals.names import METRICS, Name
from watchkeeper.signals.spans import SOURCE

Point: TypeAlias = NumberDataPoint | HistogramDataPoint | ExponentialHistogramDataPoint

_TEMPORALITY = {
    AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA: Temporality.DELTA,
    AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE: Temporality.CUMULATIVE,
}
_LABELS = {
    "environment": Name.ENVIRONMENT,
    "error": Name.ERROR_TYPE,
    "instance": Name.INSTANCE,
    "modality": Name.MODALITY,
    "model": Name.MODEL,
    "operation": Name.OPERATION,
    "provider": Name.PROVIDER,
    "requested_model": Name.REQUESTED_MODEL,
}
_SHAPES = {
    "gauge": "gauge",
    "sum": "sum",
    "histogram": "histogram",
    "exponential_histogram": "exponentialHistogram",
}


class _Series(NamedTuple):
    name: str
    unit: str
    temporality: Temporality
    subject: Subject
    labels: Labels


def decode(request: ExportMetricsServiceRequest) -> Decoded:
    collector = Collector()
    collector.visit(len(request.resource_metrics), "resourceMetrics")
    for number, group in enumerate(request.resource_metrics):
        resource = known(group.resource.attributes)
        collector.visit(len(group.scope_metrics), f"resourceMetrics[{number}].scopeMetrics")
        for inner, scope in enumerate(group.scope_metrics):
            collector.visit(len(scope.metrics), f"resourceMetrics[{number}].scopeMetrics[{inner}].metrics")
            for last, metric in enumerate(scope.metrics):
                if metric.name in METRICS:
                    place = f"resourceMetrics[{number}].scopeMetrics[{inner}].metrics[{last}]"
                    _metric(metric, resource, place, collector)
    return collector.decoded()


def _metric(metric: Metric, resource: dict[str, JsonValue], place: str, collector: Collector) -> None:
    shape = metric.WhichOneof("data")
    if shape not in _SHAPES:
        collector.reject(place, "the metric is of no kind that can be read")
        return
    data = getattr(metric, shape)
    temporality = Temporality.GAUGE
    if shape != "gauge":
        known_as = _TEMPORALITY.get(data.aggregation_temporality)
        if known_as is None:
            collector.reject(f"{place}.{_SHAPES[shape]}.aggregationTemporality", "the temporality is not given")
            return
        temporality = known_as
    collector.visit(len(data.data_points), f"{place}.{_SHAPES[shape]}.dataPoints")
    for number, point in enumerate(data.data_points):
        at = f"{place}.{_SHAPES[shape]}.dataPoints[{number}]"
        attributes = {**known(point.attributes), **resource}
        name = _name(METRICS[metric.name], attributes)
        subject = _subject(attributes)
        if not point.time_unix_nano or point.flags & DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK:
            collector.reject(at, "the point has no time or no value")
        elif not name or subject is None:
            collector.reject(at, "the point has no token type, or names neither a service nor a model")
        else:
            series = _Series(name, metric.unit[: names.MAX_NAME], temporality, subject, _labels(attributes))
            for sample in _samples(series, point, at, collector):
                collector.add(sample, at)


def _name(ours: str, attributes: dict[str, JsonValue]) -> str:
    if ours != "tokens":
        return ours
    kind = names.text(attributes, Name.TOKEN_TYPE)
    return {"input": "tokens.input", "output": "tokens.output", "completion": "tokens.output"}.get(kind, "")


def _subject(attributes: dict[str, JsonValue]) -> Subject | None:
    service = names.service(attributes)
    if service:
        return Subject(kind=SubjectKind.SERVICE, id=service)
    model = names.text(attributes, Name.REQUESTED_MODEL) or names.text(attributes, Name.MODEL)
    return Subject(kind=SubjectKind.MODEL, id=model) if model else None


def _labels(attributes: dict[str, JsonValue]) -> Labels:
    found = ((label, names.text(attributes, name)) for label, name in _LABELS.items())
    return tuple((label, names.provider(value) if label == "provider" else value) for label, value in found if value)


def _samples(series: _Series, point: Point, place: str, collector: Collector) -> Iterator[Sample]:
    for suffix, value in _values(series.name, point):
        if not math.isfinite(value):
            collector.reject(place, "the value is not a finite number")
            continue
        named = series._replace(name=series.name + suffix)
        yield Sample(
            id=_id(named, point, value),
            source=SOURCE,
            at=instant(point.time_unix_nano),
            name=named.name,
            subject=named.subject,
            value=value,
            unit=named.unit,
            temporality=named.temporality,
            labels=named.labels,
        )


def _values(name: str, point: Point) -> tuple[tuple[str, float], ...]:
    if isinstance(point, NumberDataPoint):
        value = point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
        return (("", float(value)),)
    if name == "duration":
        return ((".sum", float(point.sum)), (".count", float(point.count)))
    return (("", float(point.sum)),)


def _id(series: _Series, point: Point, value: float) -> str:
    """OTLP gives points no id: equal content, times included, is the same point sent again."""
    content = [
        series.name,
        str(series.subject),
        series.temporality.value,
        [list(pair) for pair in series.labels],
        int(point.start_time_unix_nano),
        int(point.time_unix_nano),
        value,
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
