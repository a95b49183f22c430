"""A past to ask a candidate policy about: decisions with what followed them, in a few words."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from tests.testbed.decided import T0, envelope, write_export
from tests.testbed.decisions import KEY, a_request, an_input
from tests.testbed.entries import a_plan
from watchkeeper.core.actions import Change, FieldChange, Intent
from watchkeeper.core.claims import Claim, EffectPhase
from watchkeeper.core.decisions import ActionRequest, DecisionRecord, RateCount
from watchkeeper.core.entries import EntryType, Envelope, IncidentClosed, RemedyRecorded
from watchkeeper.core.ids import ActionKey, ClaimId, DecisionId, IncidentId, PlanId, RemedyId
from watchkeeper.core.model import Contract
from watchkeeper.core.outcomes import Effect, EffectOutcome, Outcome, Recovery
from watchkeeper.core.plans import Plan
from watchkeeper.core.remedies import Remedy, RemedyStatus
from watchkeeper.core.subjects import Scope
from watchkeeper.policies.compile import Policy
from watchkeeper.policies.decide import decide

SCOPE = Scope(environment="demo", service="chat")


class Past:
    """Decisions of one policy, numbered from 0, each at its minute. What the daemon would read of its tables is said by
    the caller: rates, cool-downs and what runs are in the recorded input."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.entries: list[Envelope] = []
        self._number = 0

    def decide(
        self,
        minute: float,
        scope: Scope = SCOPE,
        target: str = "k1",
        rates: dict[int, int] | None = None,
        **changes: object,
    ) -> DecisionRecord:
        n, at = self._number, T0 + timedelta(minutes=minute)
        self._number += 1
        asked = {name: changes.pop(name) for name in tuple(changes) if name in ActionRequest.model_fields}
        request = a_request(target=KEY.model_copy(update={"id": target}), **asked)
        counts = dict.fromkeys(self.policy.rate_windows, 0) | (rates or {})
        given = an_input(
            request,
            incident=IncidentId(f"inc_{n}"),
            plan=PlanId(f"pln_{n}"),
            scope=scope,
            rates=tuple(RateCount(window_s=window, count=count) for window, count in sorted(counts.items())),
            at=at,
            **changes,
        )
        record = DecisionRecord(id=DecisionId(f"dec_{n}"), input=given, decision=decide(self.policy, given))
        self._append(EntryType.PLAN, self._plan(record), at)
        self._append(EntryType.DECISION, record, at)
        return record

    def act(
        self,
        record: DecisionRecord,
        after_s: float = 1.0,
        effect: Effect = Effect.SUCCEEDED,
        recovery: Recovery | None = Recovery.RECOVERED,
        ends: RemedyStatus | None = RemedyStatus.RELEASED,
        closed: str | None = "recovered",
    ) -> None:
        """The claim and its effect, a remedy that ends at once or stays, the verified outcome, the end."""
        given, at = record.input, record.input.at + timedelta(seconds=after_s)
        key = ActionKey(f"{given.plan}/0/apply")
        claim = Claim(
            id=ClaimId(f"clm_{given.plan}"),
            key=key,
            incident=given.incident,
            plan=given.plan,
            plan_hash=given.plan_hash,
            step=0,
            phase=EffectPhase.APPLY,
            decision=record.id,
            approval=None,
            policy_version=record.decision.policy_version,
            epochs=(),
            holder="one",
            fence=1,
            taken=at,
            not_after=at + timedelta(seconds=5),
        )
        self._append(EntryType.CLAIM, claim, at)
        done = EffectOutcome(claim=claim.id, key=key, fence=1, effect=effect, code="http_200", at=at)
        self._append(EntryType.EFFECT, done, at)
        if effect is Effect.SUCCEEDED:
            self._hold(record, at, RemedyStatus.IN_FORCE)
        if recovery is not None:
            outcome = Outcome(
                incident=given.incident, plan=given.plan, recovery=recovery, horizon_s=60, sli=None, at=at
            )
            self._append(EntryType.OUTCOME, outcome, at)
        if effect is Effect.SUCCEEDED and ends is not None:
            self._hold(record, at, ends)
        if closed is not None:
            self._append(EntryType.INCIDENT_CLOSED, IncidentClosed(incident=given.incident, resolution=closed), at)

    def export(self, directory: Path) -> Path:
        return write_export(directory, self.entries, [self.policy])

    def _hold(self, record: DecisionRecord, at: datetime, status: RemedyStatus) -> None:
        given = record.input
        remedy = Remedy(
            id=RemedyId(f"rem_{given.plan}"),
            incident=given.incident,
            plan=given.plan,
            step=0,
            holder="one",
            change=self._change(record),
            since=at,
            expires=at + timedelta(hours=2),
            status=status,
        )
        self._append(EntryType.REMEDY, RemedyRecorded(remedy=remedy, reason=status.value), at)

    def _plan(self, record: DecisionRecord) -> Plan:
        given = record.input
        actions = tuple(
            a_plan().actions[0].model_copy(update={"step": request.step, "target": request.target})
            for request in given.requests
        )
        changed = {
            "id": given.plan,
            "incident": given.incident,
            "scope": given.scope,
            "actions": actions,
            "changes": (self._change(record),),
            "remedy_ttl_s": 3600.0,
            "runbook": a_plan().runbook.model_copy(update={"name": given.runbook}),
        }
        return a_plan().model_copy(update=changed)

    @staticmethod
    def _change(record: DecisionRecord) -> Change:
        return Change(
            target=record.input.requests[0].target,
            intent=Intent.THROTTLE,
            fields=(FieldChange(path="rpm_limit", before=None, after=30),),
        )

    def _append(self, kind: EntryType, data: Contract, at: datetime) -> None:
        self.entries.append(envelope(len(self.entries), kind, data, at=at))
