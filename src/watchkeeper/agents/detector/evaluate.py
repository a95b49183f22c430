"""All detectors together: what is wrong now. The same state and time give the same findings, in the same order."""

from __future__ import annotations

from datetime import datetime

from watchkeeper.agents.detector import provider_outage, runaway_loop, token_cost
from watchkeeper.agents.detector.config import DetectorConfig
from watchkeeper.agents.detector.drafting import Detected
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
