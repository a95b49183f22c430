"""All detectors together: what is wrong now, and what one of them said before, judged again from its basis.

The same state and time give the same findings, in the same order."""

from __future__ import annotations

from datetime import datetime

from watchkeeper.agents.detector import provider_outage, runaway_loop, token_cost
from watchkeeper.agents.detector.basis import Basis, CostCase, LoopCase, OutageCase
from watchkeeper.agents.detector.config import DetectorConfig, ProviderOutageConfig, RunawayLoopConfig, TokenCostConfig
from watchkeeper.agents.detector.drafting import Detected
from watchkeeper.agents.detector.facts import Facts, Notes
from watchkeeper.core.findings import Finding
from watchkeeper.signals.state import SignalState


class Detectors:
    def __init__(self, config: DetectorConfig) -> None:
        self.config = config

    def evaluate(self, state: SignalState, now: datetime) -> tuple[Detected, ...]:
        """Loops first, for they explain costs; each finding with the bytes it was drawn from."""
        return (
            *runaway_loop.evaluate(state, self.config.runaway_loop, now),
            *provider_outage.evaluate(state, self.config.provider_outage, now),
            *token_cost.evaluate(state, self.config.token_cost, now),
        )


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
        case _:
            return None
