"""What came of each decision, from the entries that followed it: effects, verified outcome, what was given back.

It takes the record's word and concludes nothing: a plan whose service level was never read is `open`, whatever became
of the incident.
"""

from __future__ import annotations

from collections import defaultdict

from watchkeeper.core.claims import Claim, EffectPhase
from watchkeeper.core.decisions import DecisionRecord
from watchkeeper.core.entries import IncidentClosed, RemedyRecorded
from watchkeeper.core.ids import ActionKey, DecisionId, IncidentId, PlanId
from watchkeeper.core.model import Contract
from watchkeeper.core.outcomes import Effect, EffectOutcome, Outcome, Recovery
from watchkeeper.core.remedies import RemedyStatus
from watchkeeper.policies.whatif.report import Became


class Aftermath:
    def __init__(self) -> None:
        self._claims: defaultdict[DecisionId, set[ActionKey]] = defaultdict(set)
        self._effects: dict[ActionKey, Effect] = {}
        self._recovery: dict[PlanId, Recovery] = {}
        self._undone: set[PlanId] = set()
        self._closed: dict[IncidentId, str] = {}

    def add(self, data: Contract) -> None:
        match data:
            case Claim() if data.phase is EffectPhase.APPLY:
                self._claims[data.decision].add(data.key)
            case EffectOutcome():
                self._effects[data.key] = data.effect
            case Outcome():
                self._recovery[data.plan] = data.recovery
            case RemedyRecorded() if data.remedy.status is RemedyStatus.UNDONE:
                self._undone.add(data.remedy.plan)
            case IncidentClosed():
                self._closed[data.incident] = data.resolution

    def executed(self, record: DecisionRecord) -> bool:
        """Whether the right to send an effect was ever taken under this decision."""
        return bool(self._claims.get(record.id))

    def became(self, record: DecisionRecord) -> Became:
        claims = self._claims.get(record.id)
        if not claims:
            return Became.NOT_EXECUTED
        if all(self._effects.get(key) is Effect.FAILED for key in claims):
            return Became.FAILED
        recovery = self._recovery.get(record.input.plan)
        return Became.OPEN if recovery is None else Became(recovery.value)

    def rolled_back(self, record: DecisionRecord) -> bool:
        return self.executed(record) and record.input.plan in self._undone

    def resolution(self, record: DecisionRecord) -> str | None:
        return self._closed.get(record.input.incident)
