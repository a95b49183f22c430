"""What a decision has to know about our own doing: rates, what runs, cool-downs, conflicts.

Read in one transaction before the decision; it may have changed by the time of the claim, which checks conflicts and
busy targets again, and what caps count (`counted`).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, select, true, union
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.actions import Target
from watchkeeper.core.claims import EffectPhase
from watchkeeper.core.decisions import RateCount
from watchkeeper.core.ids import PlanId, RemedyId
from watchkeeper.core.model import Contract
from watchkeeper.core.outcomes import Effect
from watchkeeper.core.phases import Phase
from watchkeeper.core.plans import Plan
from watchkeeper.core.remedies import HELD
from watchkeeper.core.subjects import Scope
from watchkeeper.policies import rows
from watchkeeper.policies.rollout import rows as rollout
from watchkeeper.policies.tables import effect_claim, owned_field, remedy
from watchkeeper.store.engine import Store


class TargetFacts(Contract):
    """`running`: plans that act on the target or hold a remedy there. None: it was never touched."""

    running: int
    seconds_since_last: float | None


class PlanFacts(Contract):
    """`targets` in the order of the plan's actions. `conflicts`: remedies of others that own a field it changes."""

    rates: tuple[RateCount, ...]
    running_fleet: int
    conflicts: tuple[RemedyId, ...]
    targets: tuple[TargetFacts, ...]
    phase: Phase | None = None
    """Of the service's rollout; None: it was not asked for."""


class Facts:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def of(self, plan: Plan, windows_s: tuple[int, ...], now: datetime) -> PlanFacts:
        """Everything a DecisionInput says about the plan's surroundings. The plan itself does not count."""
        async with self._store.read() as tx:
            found = await plan_facts(tx, plan, windows_s, now, counting_itself=True)
            return found.model_copy(update={"phase": await rollout.phase(tx, plan.scope)})


async def plan_facts(
    tx: AsyncConnection, plan: Plan, windows_s: tuple[int, ...], now: datetime, *, counting_itself: bool
) -> PlanFacts:
    """The same in the caller's transaction. `counting_itself`: what the plan did before, in a cycle that a relapse
    ended, counts for rates and cool-downs."""
    besides = None if counting_itself else plan.id
    return PlanFacts(
        rates=await _rates(tx, plan.runbook.name, plan.scope, windows_s, now, besides),
        running_fleet=await _running(tx, plan.id),
        conflicts=await _conflicts(tx, plan),
        targets=tuple([await _target(tx, plan.id, action.target, now, besides) for action in plan.actions]),
    )


async def _rates(
    tx: AsyncConnection, runbook: str, scope: Scope, windows_s: tuple[int, ...], now: datetime, besides: PlanId | None
) -> tuple[RateCount, ...]:
    counts = []
    for window_s in sorted(set(windows_s)):
        query = select(func.count()).where(
            effect_claim.c.runbook == runbook,
            effect_claim.c.environment == scope.environment,
            effect_claim.c.service == scope.service,
            effect_claim.c.taken > now - timedelta(seconds=window_s),
            effect_claim.c.phase == EffectPhase.APPLY.value,
            _not_of(besides),
        )
        counts.append(RateCount(window_s=window_s, count=(await tx.execute(query)).scalar_one()))
    return tuple(counts)


def _not_of(plan: PlanId | None) -> ColumnElement[bool]:
    return true() if plan is None else effect_claim.c.plan != plan


async def _running(tx: AsyncConnection, besides: PlanId, target: Target | None = None) -> int:
    acting = select(effect_claim.c.plan).where(effect_claim.c.state.in_(rows.UNSETTLED), effect_claim.c.plan != besides)
    holding = select(remedy.c.plan).where(remedy.c.status.in_(HELD), remedy.c.plan != besides)
    if target is not None:
        acting = acting.where(effect_claim.c.target == str(target))
        holding = holding.where(remedy.c.target == str(target))
    return int((await tx.execute(select(func.count()).select_from(union(acting, holding).subquery()))).scalar_one())


async def _target(
    tx: AsyncConnection, plan: PlanId, target: Target, now: datetime, besides: PlanId | None
) -> TargetFacts:
    """FAILED effects changed nothing, so no cool-down starts from them."""
    query = select(func.max(effect_claim.c.taken, type_=effect_claim.c.taken.type)).where(
        effect_claim.c.target == str(target), effect_claim.c.state != Effect.FAILED.value, _not_of(besides)
    )
    last: datetime | None = (await tx.execute(query)).scalar_one()
    return TargetFacts(
        running=await _running(tx, plan, target),
        seconds_since_last=None if last is None else max(0.0, (now - last).total_seconds()),
    )


async def _conflicts(tx: AsyncConnection, plan: Plan) -> tuple[RemedyId, ...]:
    found: set[RemedyId] = set()
    for change in plan.changes:
        query = select(owned_field.c.remedy).where(
            owned_field.c.target == str(change.target),
            owned_field.c.path.in_([field.path for field in change.fields]),
            owned_field.c.plan != plan.id,
            owned_field.c.remedy.is_not(None),
        )
        found.update(RemedyId(row.remedy) for row in await tx.execute(query))
    return tuple(sorted(found))
