"""How much the signal state remembers, and how finely. Seconds and counts.

What exceeds a bound is let go, counted, and reported by `SignalState.evictions`.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from watchkeeper.core.model import Contract


class StateConfig(Contract):
    bucket_s: float = Field(default=10.0, ge=0.1, le=300)
    """The finest time that a window can tell apart."""
    horizon_s: float = Field(default=1800.0, gt=0)
    """How far back fine buckets reach; no SLI window may be longer."""
    step_s: float = Field(default=30.0, gt=0)
    """The unit of baselines, a whole number of buckets. Older than the horizon only these are kept."""
    history_s: float = Field(default=14_400.0, gt=0)
    """How far back baselines can reach."""
    lateness_s: float = Field(default=120.0, gt=0)
    """How long after its event time a signal may arrive; later ones are counted and dropped."""
    max_subjects: int = Field(default=2_000, ge=10)
    max_calls: int = Field(default=100_000, ge=100)
    """Calls whose reports can still be joined; at least twice the lateness times the call rate."""
    max_spans: int = Field(default=200_000, ge=100)
    """Spans whose place in their trace is known."""
    max_runs: int = Field(default=5_000, ge=10)
    max_steps_per_run: int = Field(default=500, ge=20)
    """Steps kept one by one; older ones of the run are added up."""
    max_edges: int = Field(default=20_000, ge=100)
    max_levels: int = Field(default=10_000, ge=10)
    """Series whose latest value is kept."""
    max_changes: int = Field(default=2_000, ge=10)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        ratio = self.step_s / self.bucket_s
        if abs(ratio - round(ratio)) > 1e-9 or ratio < 1:
            raise ValueError("step_s must be a whole number of bucket_s")
        if self.horizon_s < 3 * self.lateness_s + 3 * self.step_s:
            raise ValueError("horizon_s must be at least 3 * lateness_s + 3 * step_s, or late signals have no place")
        if self.history_s < self.horizon_s:
            raise ValueError("history_s must be at least horizon_s")
        if self.horizon_s / self.bucket_s > 10_000 or self.history_s / self.step_s > 10_000:
            raise ValueError("at most 10000 buckets per horizon and 10000 steps per history")
        return self
