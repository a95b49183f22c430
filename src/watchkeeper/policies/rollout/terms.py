"""What each phase asks before a person may move a service into it. docs/rollout.md says why these numbers."""

from __future__ import annotations

from pydantic import Field

from watchkeeper.core.model import Contract
from watchkeeper.core.phases import Phase


class PhaseTerms(Contract):
    days_in_phase: float = Field(default=28, ge=0)
    """How long the service must have been in the phase before it."""
    judged: int = Field(default=10, ge=1)
    """Incidents that must have been judged, by outcomes or by people."""
    accuracy: float = Field(default=0.9, ge=0, le=1)
    """The share of those that were right."""
    routine_pages: int = Field(default=0, ge=0)
    """Incidents that a runbook answered; 0: not asked, nor is the share."""
    closed_alone: float = Field(default=0.0, ge=0, le=1)
    """The share of those that closed without a person."""


class RolloutTerms(Contract):
    """No rollback, no unsafe outcome and no effect that is not known within the window is asked by every phase."""

    window_days: float = Field(default=28, gt=0)
    """How far back evidence is looked for."""
    pilot: PhaseTerms = PhaseTerms()
    expanded: PhaseTerms = PhaseTerms(accuracy=0.95, routine_pages=10, closed_alone=0.5)
    agent_first: PhaseTerms = PhaseTerms(judged=30, accuracy=0.95, routine_pages=30, closed_alone=0.8)

    def of(self, phase: Phase) -> PhaseTerms:
        """Raises KeyError for triage, which asks nothing."""
        return {Phase.PILOT: self.pilot, Phase.EXPANDED: self.expanded, Phase.AGENT_FIRST: self.agent_first}[phase]
