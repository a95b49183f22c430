"""Service level indicators: what a runbook promises to restore and what it must not harm.

Measures are counted from calls. `series:NAME` is the value of a configured Prometheus query instead: whatever it means.

A reading with too little traffic is `inconclusive`; it is never taken for recovery.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from watchkeeper.core.model import Contract, Instant
from watchkeeper.core.subjects import Subject


class Measure(StrEnum):
    """What can be read of a subject over a window. Rates are per minute; ratios are 0..1."""

    CALLS_PER_MIN = "calls_per_min"
    SERVED_PER_MIN = "served_per_min"
    TOKENS_PER_MIN = "tokens_per_min"
    COST_USD_PER_MIN = "cost_usd_per_min"
    SUCCESS_RATIO = "success_ratio"
    PROVIDER_ERROR_RATIO = "provider_error_ratio"
    LATENCY_P95_S = "latency_p95_s"
    ALERTS_FIRING = "alerts_firing"
    """How many alerts fire on the subject now, whatever the window: they are told when they begin and when they end."""


SERIES = "series:"
SeriesMeasure = Annotated[str, Field(pattern=r"^series:[^\s:][^\s]{0,127}$")]


class Comparison(StrEnum):
    AT_MOST = "<="
    AT_LEAST = ">="


class SubjectSet(StrEnum):
    """`one`: the subject itself. `others`: all subjects of its kind but this one, taken together."""

    ONE = "one"
    OTHERS = "others"


class Sli(Contract):
    """`subject`'s `measure` over the last `window_s` seconds compares to `threshold`; needs `min_events` calls.

    Of a series, `min_events` counts the series of that name that were heard of within the window."""

    schema_name = "watchkeeper.dev/sli/v1"
    measure: Measure | SeriesMeasure
    subject: Subject
    over: SubjectSet = SubjectSet.ONE
    op: Comparison
    threshold: float
    window_s: float = Field(gt=0)
    min_events: int = Field(default=1, ge=0)


class SliStatus(StrEnum):
    MET = "met"
    BREACHED = "breached"
    INCONCLUSIVE = "inconclusive"


class SliReading(Contract):
    schema_name = "watchkeeper.dev/sli-reading/v1"
    sli: Sli
    at: Instant
    status: SliStatus
    value: float | None
    events: int
    estimated: bool = False
    """True where sampled traces went into the value."""
