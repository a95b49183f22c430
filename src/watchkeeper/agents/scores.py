"""What the end of a plan says of the specialists behind it, in the terms in which trust is kept.

The remediator answers for all of it. The diagnoser is credited when the service level recovered after what was done to
its cause, and debited when it did not, though every effect succeeded and harmed nobody. What was not put to the test
counts for nothing: a trouble gone by itself, too little traffic, a call that our own authority held back.
A failure is scored where it shows, a success when the incident ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.agents.remedies import CHANGED
from watchkeeper.core.decisions import DecisionRecord, Verdict
from watchkeeper.core.diagnosis import Diagnosis
from watchkeeper.core.outcomes import Effect, EffectOutcome, Recovery
from watchkeeper.core.plans import Plan
from watchkeeper.core.trust import Credit, Grounds, Origin, TrustOutcome
from watchkeeper.policies.claiming.claims import Also
from watchkeeper.policies.trust.service import Trust

NOT_THEIRS = frozenset((CHANGED, "authority_lost", "deadline_passed"))
"""Codes of effects that were held back: somebody else had the field, or the claim was no longer good."""

UNDONE = {"undone_by_person": Grounds.UNDONE, "relapsed_under_remedy": Grounds.RELAPSED_UNDER_REMEDY}
"""Reasons of an undo that judge what is undone. The others were judged before, or judge nothing."""


@dataclass(frozen=True)
class Deed:
    """A plan under its decision. `diagnosis` None: whoever found the cause is not scored."""

    plan: Plan
    record: DecisionRecord
    diagnosis: Diagnosis | None = None

    @property
    def origin(self) -> Origin:
        """A plan that a person edited says as much of the person: it is kept apart, whoever let it run."""
        if self.plan.authors:
            return Origin.EDITED
        match self.record.decision.verdict:
            case Verdict.SHADOW:
                return Origin.SHADOW
            case Verdict.REQUIRE_APPROVAL:
                return Origin.APPROVED
            case _:
                return Origin.ALONE

    def of_remediator(
        self, steps: Iterable[int], credit: Credit, grounds: Grounds, at: datetime
    ) -> tuple[TrustOutcome, ...]:
        return self._scored(self.plan.remediator, self.plan.manifest_digest, steps, credit, grounds, at)

    def of_diagnoser(
        self, steps: Iterable[int], credit: Credit, grounds: Grounds, at: datetime
    ) -> tuple[TrustOutcome, ...]:
        if self.diagnosis is None:
            return ()
        return self._scored(self.diagnosis.diagnoser, self.diagnosis.code_digest, steps, credit, grounds, at)

    def _scored(
        self, agent: str, digest: str, steps: Iterable[int], credit: Credit, grounds: Grounds, at: datetime
    ) -> tuple[TrustOutcome, ...]:
        return tuple(
            TrustOutcome(
                agent=agent,
                manifest_digest=digest,
                runbook=self.plan.runbook.name,
                intent=self.plan.actions[step].intent,
                scope=self.plan.scope,
                incident=self.plan.incident,
                plan=self.plan.id,
                step=step,
                origin=self.origin,
                credit=credit,
                grounds=grounds,
                at=at,
            )
            for step in steps
        )


def succeeded(effects: Iterable[EffectOutcome]) -> tuple[int, ...]:
    """The steps of an apply that were done."""
    return tuple(step for step, outcome in enumerate(effects) if outcome.effect is Effect.SUCCEEDED)


def scored(trust: Trust, deed: Deed, step: int, also: Also) -> Also:
    """`also`, and an effect that failed on its own account. What was to be given back counts as what was to be done."""

    async def both(tx: AsyncConnection, outcome: EffectOutcome) -> None:
        await also(tx, outcome)
        if outcome.effect is Effect.FAILED and outcome.code not in NOT_THEIRS:
            await trust.record(tx, deed.of_remediator((step,), Credit.FAILURE, Grounds.EFFECT_FAILED, outcome.at))

    return both


def verified(
    deed: Deed, steps: tuple[int, ...], recovery: Recovery, at: datetime, *, harmed: bool, last: bool
) -> tuple[TrustOutcome, ...]:
    """What one reading of the service level settles. `last`: no later one of this apply is to come."""
    if harmed:
        return deed.of_remediator(steps, Credit.FAILURE, Grounds.UNSAFE, at)
    if not last:
        return ()
    match recovery:
        case Recovery.RECOVERED:
            return deed.of_diagnoser(steps, Credit.SUCCESS, Grounds.RECOVERED, at)
        case Recovery.NOT_RECOVERED:
            failed = Credit.FAILURE, Grounds.NOT_RECOVERED, at
            return deed.of_remediator(steps, *failed) + deed.of_diagnoser(steps, *failed)
        case _:
            return ()


def undone(deed: Deed, steps: Iterable[int], reason: str, at: datetime) -> tuple[TrustOutcome, ...]:
    """An undo that begins, of steps that are in force."""
    grounds = UNDONE.get(reason)
    return () if grounds is None else deed.of_remediator(steps, Credit.FAILURE, grounds, at)


def ended(
    deed: Deed, steps: tuple[int, ...] | None, read: Recovery | None, at: datetime, *, moot: bool
) -> tuple[TrustOutcome, ...]:
    """The end of an incident whose plan was carried out. `read`: at the last horizon of the first apply, None if that
    never came. `steps` None: nothing was done."""
    if steps is None:
        every = range(len(deed.plan.actions))
        return deed.of_remediator(every, Credit.NOTHING, Grounds.MOOT, at) if moot else ()
    match read:
        case Recovery.RECOVERED:
            return deed.of_remediator(steps, Credit.SUCCESS, Grounds.RECOVERED, at)
        case Recovery.NOT_RECOVERED:
            return ()  # scored when it was read
        case Recovery.INCONCLUSIVE:
            return deed.of_remediator(steps, Credit.NOTHING, Grounds.INCONCLUSIVE, at)
        case _:
            return deed.of_remediator(steps, Credit.NOTHING, Grounds.NOT_VERIFIED, at)


def untreated(deed: Deed, read: Recovery | None, at: datetime, *, by_itself: bool) -> tuple[TrustOutcome, ...]:
    """The end of an incident in shadow. `read`: when a plan that was carried out would have been judged; None: it
    ended before that."""
    every = range(len(deed.plan.actions))
    match read:
        case Recovery.RECOVERED:
            return deed.of_remediator(every, Credit.SUCCESS, Grounds.RECOVERED, at)
        case Recovery.NOT_RECOVERED:
            return deed.of_remediator(every, Credit.FAILURE, Grounds.NOT_RECOVERED, at)
        case None if by_itself:
            return deed.of_remediator(every, Credit.SUCCESS, Grounds.RECOVERED, at)
        case None:
            return deed.of_remediator(every, Credit.NOTHING, Grounds.NOT_VERIFIED, at)
        case _:
            return deed.of_remediator(every, Credit.NOTHING, Grounds.INCONCLUSIVE, at)
