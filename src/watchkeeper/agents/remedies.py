"""What a settled effect means for the remedy: put in force, given back in part, ended, or lost to somebody else.

Each of these is written in the transaction that settles the effect, so that no crash can part what was done from what
is owed back. Who settles it, the incident's own node or the reconciler, makes no difference.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.actions import ActionKind
from watchkeeper.core.decisions import DecisionRecord
from watchkeeper.core.ids import RemedyId, new_id
from watchkeeper.core.outcomes import Effect, EffectOutcome
from watchkeeper.core.plans import Plan
from watchkeeper.core.remedies import HELD, Remedy, RemedyStatus
from watchkeeper.policies.claiming.claims import Also
from watchkeeper.policies.remedies import Remedies

CHANGED = "changed"
"""The adapter's word for a target that no longer holds our value: somebody else's now, so we touch nothing."""


def remedy_ttl_s(plan: Plan, record: DecisionRecord) -> float:
    """How long what the plan does may stand: the runbook's time, or less where policy says so."""
    cap_s = record.decision.remedy_ttl_s
    return plan.remedy_ttl_s if cap_s is None else min(plan.remedy_ttl_s, cap_s)


def put_in_force(
    remedies: Remedies, plan: Plan, step: int, ttl_s: float, known: Remedy | None, now: Callable[[], datetime]
) -> Also:
    """After an apply. `known`: the step's remedy of an earlier cycle, which a relapse puts in force again."""

    async def also(tx: AsyncConnection, outcome: EffectOutcome) -> None:
        if outcome.effect is not Effect.SUCCEEDED or plan.actions[step].kind is not ActionKind.REVERSIBLE:
            return
        relapses = 0 if known is None else known.relapses + 1
        if known is not None and known.status in HELD:
            again = {"status": RemedyStatus.IN_FORCE, "given_back": 0.0, "relapses": relapses}
            await remedies.update(tx, known.model_copy(update=again), reason="relapse")
        else:
            await remedies.record(tx, _new(plan, step, outcome.at, ttl_s, now(), relapses))

    return also


def give_back(remedies: Remedies, remedy: Remedy, factor: float, reason: str) -> Also:
    """After a release step, or an undo: `factor` of it is given back now, unless it is no longer ours to give."""

    async def also(tx: AsyncConnection, outcome: EffectOutcome) -> None:
        if outcome.effect is Effect.SUCCEEDED:
            ended = RemedyStatus.UNDONE if reason == "undo" else RemedyStatus.RELEASED
            after = {"status": ended if factor >= 1 else RemedyStatus.RELEASING, "given_back": factor}
        elif outcome.effect is Effect.FAILED and outcome.code == CHANGED:
            after = {"status": RemedyStatus.LOST}
        else:
            return
        await remedies.update(tx, remedy.model_copy(update=after), reason=reason)

    return also


def _new(plan: Plan, step: int, since: datetime, ttl_s: float, now: datetime, relapses: int) -> Remedy:
    return Remedy(
        id=RemedyId(new_id("rem", now)),
        incident=plan.incident,
        plan=plan.id,
        step=step,
        holder=plan.remediator,
        change=plan.changes[step],
        since=since,
        expires=since + timedelta(seconds=ttl_s),
        status=RemedyStatus.IN_FORCE,
        relapses=relapses,
    )
