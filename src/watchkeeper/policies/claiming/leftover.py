"""What a plan did and could not undo: said when it is handed to a person, step by step, the last first.

It reads what claims and remedies recorded, in the caller's transaction, and does not look at the targets. What is in
force and nobody has tried to undo yet is not told here: it can still be undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.actions import ActionKind
from watchkeeper.core.claims import EffectPhase
from watchkeeper.core.ids import PlanId
from watchkeeper.core.outcomes import Effect, EffectOutcome, NotUndone, Stays
from watchkeeper.core.plans import Plan
from watchkeeper.core.remedies import HELD, Remedy, RemedyStatus
from watchkeeper.policies import rows
from watchkeeper.policies.tables import claim_refused, effect_claim
from watchkeeper.policies.tables import remedy as remedies


class Tried(NamedTuple):
    """The last effect of one phase of a step. `state` as the claim's row has it."""

    state: str
    code: str


class Trace(NamedTuple):
    """What is known of one step."""

    applied: Tried | None
    undone: Tried | None
    refused: str
    """Why the undo may not be sent, as long as that stands."""
    remedy: Remedy | None


async def left_over(tx: AsyncConnection, plan: Plan) -> tuple[NotUndone, ...]:
    """Of a plan that was begun; bounded by its steps."""
    told = []
    for action in reversed(plan.actions):
        why = stays(action.kind, await _trace(tx, plan.id, action.step))
        if why is not None:
            told.append(
                NotUndone(step=action.step, intent=action.intent, target=action.target, why=why[0], said=why[1])
            )
    return tuple(told)


def stays(kind: ActionKind, trace: Trace) -> tuple[Stays, str] | None:
    """Why the step's effect stays; None: there was none, it was taken back, or nothing was tried yet."""
    applied, undone, remedy = trace.applied, trace.undone, trace.remedy
    if applied is not None and applied.state in rows.UNSETTLED:
        return Stays.UNKNOWN, applied.code
    if kind is not ActionKind.REVERSIBLE:
        did = applied is not None and applied.state == Effect.SUCCEEDED
        return (Stays.NO_WAY_BACK, kind.value) if did else None
    if remedy is None or remedy.status not in (*HELD, RemedyStatus.LOST):
        return None
    if remedy.status is RemedyStatus.LOST:
        return Stays.CHANGED, ""
    if trace.refused:
        return Stays.REFUSED, trace.refused
    if undone is None:
        return None
    return (Stays.UNKNOWN if undone.state in rows.UNSETTLED else Stays.FAILED), undone.code


async def _trace(tx: AsyncConnection, plan: PlanId, step: int) -> Trace:
    here = (effect_claim.c.plan == plan) & (effect_claim.c.step == step)
    claims = select(effect_claim).where(here).order_by(effect_claim.c.taken)
    begins = f"{plan}/{step}/{EffectPhase.UNDO}"
    refused = select(claim_refused.c.reason).where(claim_refused.c.key.startswith(begins, autoescape=True))
    held = select(remedies.c.body).where(remedies.c.plan == plan, remedies.c.step == step)
    found = (await tx.execute(claims)).all()
    body = (await tx.execute(held.order_by(remedies.c.id.desc()).limit(1))).scalar_one_or_none()
    return Trace(
        applied=_last(found, EffectPhase.APPLY),
        undone=_last(found, EffectPhase.UNDO),
        refused=(await tx.execute(refused.order_by(claim_refused.c.key.desc()))).scalars().first() or "",
        remedy=None if body is None else Remedy.model_validate_json(body),
    )


def _last(found: Sequence[Row[tuple[object, ...]]], phase: EffectPhase) -> Tried | None:
    ours = [row for row in found if row.phase == phase]
    if not ours:
        return None
    outcome = ours[-1].outcome
    return Tried(ours[-1].state, "" if outcome is None else EffectOutcome.model_validate_json(outcome).code)
