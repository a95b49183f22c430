"""Polls Prometheus with fixed queries; each series in the answer becomes samples of one name.

A sample is known by query, labels and its own time, so that polling often costs nothing. Values that are not numbers
(NaN, infinity) are left out, as are series without the label that names their subject; `unusable` tells of the latter.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self

import httpx
from pydantic import BaseModel, Field, JsonValue, SecretStr, TypeAdapter, ValidationError, model_validator

from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import InputError
from watchkeeper.core.model import Contract
from watchkeeper.core.signals import Sample, Signal
from watchkeeper.core.subjects import Subject, SubjectKind
from watchkeeper.signals.fetch import Endpoint, RefusedReplyError
from watchkeeper.signals.names import subject_id

MAX_SAMPLES = 20_000
"""Of one query; more is an error in the query, not a reason to fill the inbox."""


class PrometheusQuery(Contract):
    """`subject_label` names the label whose value is the subject's id; `subject_id` is one fixed subject.

    With `range_s` the query asks for the values of that time, `step_s` apart; without, for the present one.
    """

    name: str = Field(min_length=1, max_length=128)
    promql: str = Field(min_length=1)
    subject_kind: SubjectKind
    subject_label: str = ""
    subject_id: str = ""
    unit: str = ""
    range_s: float | None = Field(default=None, gt=0)
    step_s: float = Field(default=15.0, gt=0)

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        if bool(self.subject_label) == bool(self.subject_id):
            raise ValueError("give either subject_label or subject_id")
        if self.range_s is not None and self.range_s / self.step_s > 10_000:
            raise ValueError("at most 10000 steps per range")
        return self


class PrometheusConfig(Contract):
    name: str = Field(pattern=r"^[a-z0-9-]{1,32}$")
    base_url: str = Field(pattern=r"^https?://[^/@\s]+(/\S*)?$")
    """Without user or password: it is shown in errors and logs."""
    bearer: SecretStr | None = None
    interval_s: float = Field(default=15.0, gt=0)
    queries: tuple[PrometheusQuery, ...] = ()


Moment = Annotated[float, Field(ge=0, lt=16e9, allow_inf_nan=False)]
"""Seconds since 1970 that are a date which exists."""


class _Series(BaseModel):
    metric: dict[str, str] = {}
    value: tuple[Moment, float] | None = None
    values: list[tuple[Moment, float]] = []


class _Result(BaseModel):
    resultType: Literal["vector", "matrix", "scalar", "string"]
    result: JsonValue


class _Answer(BaseModel):
    status: Literal["success"]
    data: _Result


_SERIES = TypeAdapter(list[_Series])


class PrometheusPoller:
    def __init__(self, config: PrometheusConfig, client: httpx.AsyncClient, clock: Clock) -> None:
        self.name, self.interval_s = config.name, config.interval_s
        self._config, self._clock = config, clock
        self._endpoint = Endpoint(config.name, config.base_url, config.bearer, client)
        self.unusable = ""
        """What of the latest poll gave no samples, and why; empty where all of it did."""

    async def poll(self) -> tuple[Signal, ...]:
        """The samples of all queries that can be used. Raises UnavailableError, and InputError where none can."""
        samples: list[Signal] = []
        errors: list[InputError] = []
        told: list[str] = []
        for query in self._config.queries:
            try:
                found, nameless = await self._ask(query)
            except InputError as error:
                errors.append(error)
                told.append(f"{error.place}: {error.what}")
                continue
            samples += found
            if nameless:
                told.append(f"queries.{query.name}: {nameless} series have no label {query.subject_label}")
        self.unusable = "; ".join(told)
        if errors and len(errors) == len(self._config.queries):
            raise errors[0]
        return tuple(samples)

    async def _ask(self, query: PrometheusQuery) -> tuple[list[Sample], int]:
        """The samples, and how many series name no subject."""
        now = self._clock.now()
        if query.range_s is None:
            path, params = "/api/v1/query", {"query": query.promql, "time": _time(now)}
        else:
            step = timedelta(seconds=query.step_s)
            # On whole steps, so that two polls ask for the same instants.
            end = datetime.fromtimestamp(now.timestamp() // query.step_s * query.step_s, UTC)
            start = end - max(step, timedelta(seconds=query.range_s))
            path = "/api/v1/query_range"
            params = {"query": query.promql, "start": _time(start), "end": _time(end), "step": str(query.step_s)}
        try:
            answer = await self._endpoint.json(path, _Answer, params)
        except RefusedReplyError as error:
            if error.status in (400, 422):
                raise _unfit(query, "was refused by Prometheus") from error
            raise
        samples: list[Sample] = []
        nameless = 0
        for series in _series(answer.data, query):
            subject = query.subject_id or subject_id(query.subject_kind, series.metric.get(query.subject_label, ""))
            if not subject:
                nameless += 1
                continue
            samples += self._samples(series, query, Subject(kind=query.subject_kind, id=subject))
            if len(samples) > MAX_SAMPLES:
                raise _unfit(query, f"gives more than {MAX_SAMPLES} samples")
        return samples, nameless

    def _samples(self, series: _Series, query: PrometheusQuery, subject: Subject) -> Iterator[Sample]:
        labels = tuple(sorted(series.metric.items()))
        told = "\n".join(f"{name}={value}" for name, value in labels)
        series_id = hashlib.sha256(told.encode()).hexdigest()[:24]
        for at, value in [series.value] if series.value else series.values:
            if math.isfinite(value):
                yield Sample(
                    id=f"{query.name}/{series_id}/{at:.3f}",
                    source=f"prometheus/{self.name}",
                    at=datetime.fromtimestamp(at, UTC),
                    name=query.name,
                    subject=subject,
                    value=value,
                    unit=query.unit,
                    labels=labels,
                )


def _time(instant: datetime) -> str:
    return f"{instant.timestamp():.3f}"


def _series(data: _Result, query: PrometheusQuery) -> list[_Series]:
    found: JsonValue = [{"value": data.result}] if data.resultType == "scalar" else data.result
    try:
        return _SERIES.validate_python(found)
    except ValidationError as error:
        raise _unfit(query, f"gives a {data.resultType} that is no series of numbers") from error


def _unfit(query: PrometheusQuery, what: str) -> InputError:
    return InputError(
        f"the query {what}",
        place=f"queries.{query.name}",
        cause="it does not say what one subject's series is",
        next_step="try the query in Prometheus's own console",
    )
