"""All detectors together: what is wrong now, and what one of them said before, judged again from its basis.

The same state and time give the same findings, in the same order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime

from watchkeeper.agents.detector import alerts, provider_outage, runaway_loop, token_cost
from watchkeeper.agents.detector.basis import AlertCase, Basis, CostCase, LoopCase, OutageCase
from watchkeeper.agents.detector.config import (
    AlertsConfig,
    DetectorConfig,
    ProviderOutageConfig,
    RunawayLoopConfig,
    TokenCostConfig,
)
from watchkeeper.agents.detector.drafting import Detected
from watchkeeper.agents.detector.facts import Facts, Notes
from watchkeeper.agents.manifest import ALERTS, COST_SPIKE, PROVIDER_OUTAGE, RUNAWAY_LOOP
from watchkeeper.core.findings import Finding
from watchkeeper.signals.state import SignalState


class Detectors:
    def __init__(self, config: DetectorConfig) -> None:
        self.config = config
        self._worked: dict[str, float] = {}

    def evaluate(self, state: SignalState, now: datetime) -> tuple[Detected, ...]:
        """Loops first, for they explain costs; each finding with the bytes it was drawn from."""
        return (
            *self._timed(RUNAWAY_LOOP, lambda: runaway_loop.evaluate(state, self.config.runaway_loop, now)),
            *self._timed(PROVIDER_OUTAGE, lambda: provider_outage.evaluate(state, self.config.provider_outage, now)),
            *self._timed(ALERTS, lambda: alerts.evaluate(state, self.config.alerts, now)),
            *self._timed(COST_SPIKE, lambda: token_cost.evaluate(state, self.config.token_cost, now)),
        )

    def worked(self) -> dict[str, float]:
        """Seconds that each detector has looked since this was last asked."""
        worked, self._worked = self._worked, {}
        return worked

    def _timed(self, name: str, look: Callable[[], Iterable[Detected]]) -> tuple[Detected, ...]:
        began = time.perf_counter()
        found = tuple(look())
        self._worked[name] = self._worked.get(name, 0.0) + time.perf_counter() - began
        return found


def judge_again(basis: Basis, facts: Facts) -> Finding | None:
    """None where the judgement finds nothing in it. Raises NotNotedError where it asks for what was not read before."""
    notes = Notes.of(facts)
    match basis.config, basis.case:
        case TokenCostConfig() as config, CostCase() as case:
            return token_cost.judge(notes, config, basis.at, case)
        case RunawayLoopConfig() as config, LoopCase() as case:
            return runaway_loop.judge(notes, config, basis.at, case)
        case ProviderOutageConfig() as config, OutageCase() as case:
            return provider_outage.judge(notes, config, basis.at, case)
        case AlertsConfig() as config, AlertCase() as case:
            return alerts.judge(notes, config, basis.at, case)
        case _:
            return None
