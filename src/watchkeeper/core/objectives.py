"""Service level objectives: what share of a service's events has to be good, over which period.

Events are the service's calls as the gateway reports them, or a pair of Prometheus series. A call is bad that the
provider failed, or that was slower than `latency_s`; one that a limit refused is nobody's fault here (invariant 12).
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from watchkeeper.core.model import Contract, Instant
from watchkeeper.core.subjects import Scope

BUCKET_S = 300
"""Events are counted in buckets of this many seconds since 1970."""
DAY_S = 86_400


class Objective(Contract):
    """`target` 0.995: at most 5 of 1,000 events are bad over `period_s`. `bad_series` and `total_series` name
    Prometheus queries about the service that give the events of the last five minutes."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    service: str
    environment: str = "production"
    target: float = Field(gt=0, lt=1, allow_inf_nan=False)
    period_s: int = Field(default=30 * DAY_S, ge=DAY_S, le=90 * DAY_S)
    """Seconds, whole days at most 90."""
    latency_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """A served call that took longer is bad too."""
    bad_series: str = ""
    total_series: str = ""

    @model_validator(mode="after")
    def _one_way_to_count(self) -> Self:
        if bool(self.bad_series) != bool(self.total_series):
            raise ValueError("give bad_series and total_series together")
        if self.bad_series and self.latency_s is not None:
            raise ValueError("latency_s is of gateway calls: of series, the query decides what is bad")
        return self

    @property
    def scope(self) -> Scope:
        return Scope(environment=self.environment, service=self.service)


class Bucket(Contract):
    """The events of one objective that began in `BUCKET_S` seconds from `start` on. Sampled calls stand for several."""

    start: Instant
    bad: float = Field(ge=0, allow_inf_nan=False)
    total: float = Field(ge=0, allow_inf_nan=False)
