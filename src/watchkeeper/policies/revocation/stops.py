"""A person's order to undo what a stop left half done, though it is stopped.

The order names what it covers, step by step, and the stops that stood when it was given, each at its epoch. A claim
under it passes those stops and no other: a later stop of anything that covers the step, by whomever, ends it. It allows
an undo and nothing else, and holds for what it names only. Rows are written once; that a person gave the order is read
from the ledger, so that a row beside it counts for nothing. Carrying it out is for the incidents (`agents.stopping`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.claims import EffectPhase, EpochSeen
from watchkeeper.core.consents import HalfDone
from watchkeeper.core.entries import EntryType, StopRecorded
from watchkeeper.core.errors import NotFoundError
from watchkeeper.core.ids import IncidentId, OrderId, PlanId
from watchkeeper.core.model import Contract, Instant
from watchkeeper.core.outcomes import EffectOutcome
from watchkeeper.core.principals import Principal
from watchkeeper.core.remedies import HELD, Remedy
from watchkeeper.ledger.recorded import recorded
from watchkeeper.policies import rows
from watchkeeper.policies.tables import claim_refused, effect_claim, remedy, stop_order, stop_undo
from watchkeeper.store.engine import Store


class StopOrder(Contract):
    """`stands`: every stop that stood with this one, at its epoch. `covers`: what may be undone under it."""

    order: OrderId
    scope: str
    epoch: int
    by: Principal
    at: Instant
    stands: tuple[EpochSeen, ...]
    covers: tuple[HalfDone, ...]


class Asked(Contract):
    """An order to one incident that a stop's order came down to."""

    order: OrderId
    incident: IncidentId
    at: Instant


class Step(Contract):
    """How a covered step stands: its latest remedy, the last of its apply's outcome, and of the undo's tries."""

    remedy: Remedy | None = None
    target: str = ""
    applied: str = ""
    """The state of the apply's claim: `open` and `unknown` are not settled."""
    said: str = ""
    """Why the undo was refused or did not succeed, as last known; empty: nothing was tried."""


class StopOrders:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, order: OrderId) -> StopOrder:
        async with self._store.read() as tx:
            body = (await tx.execute(select(stop_order.c.body).where(stop_order.c.id == order))).scalar_one_or_none()
        if body is None:
            raise NotFoundError(f"there is no order {order} to undo", next_step="watchkeeper status")
        return StopOrder.model_validate_json(body)

    async def since(self, when: datetime, limit: int = 64) -> tuple[StopOrder, ...]:
        """Those given since then, the latest first."""
        query = select(stop_order.c.body).where(stop_order.c.at >= when).order_by(stop_order.c.at.desc()).limit(limit)
        async with self._store.read() as tx:
            return tuple(StopOrder.model_validate_json(body) for body in (await tx.execute(query)).scalars())

    async def asked(self, order: OrderId) -> tuple[Asked, ...]:
        """What incidents were asked for it, in order."""
        query = select(stop_undo).where(stop_undo.c.stop == order).order_by(stop_undo.c.at, stop_undo.c.order_id)
        async with self._store.read() as tx:
            found = (await tx.execute(query)).all()
        return tuple(Asked(order=OrderId(row.order_id), incident=IncidentId(row.incident), at=row.at) for row in found)

    async def ask(self, tx: AsyncConnection, stop: OrderId, asked: Asked) -> None:
        """Ties an incident's order to the stop's, in the transaction that gives it."""
        await tx.execute(
            insert(stop_undo).values(order_id=asked.order, stop=stop, incident=asked.incident, at=asked.at)
        )

    async def covered(self, order: OrderId) -> tuple[HalfDone, ...] | None:
        """What an incident's order may undo; None: it is no part of a stop's order, and may undo all."""
        async with self._store.read() as tx:
            found = await _of(tx, order)
        return None if found is None else found.covers

    async def open_steps(self) -> frozenset[tuple[str, int]]:
        """The plans' steps of which anything is in force, or not settled."""
        held = select(remedy.c.plan, remedy.c.step).where(remedy.c.status.in_(HELD))
        unsettled = select(effect_claim.c.plan, effect_claim.c.step).where(effect_claim.c.state.in_(rows.UNSETTLED))
        async with self._store.read() as tx:
            found = [*(await tx.execute(held)).all(), *(await tx.execute(unsettled)).all()]
        return frozenset((row.plan, row.step) for row in found)

    async def step(self, covered: HalfDone, asked: Sequence[Asked]) -> Step:
        at = (effect_claim.c.plan == covered.plan) & (effect_claim.c.step == covered.step)
        held = select(remedy.c.body).where(remedy.c.plan == covered.plan, remedy.c.step == covered.step)
        applied = select(effect_claim).where(at, effect_claim.c.phase == EffectPhase.APPLY.value)
        async with self._store.read() as tx:
            body = (await tx.execute(held.order_by(remedy.c.id.desc()).limit(1))).scalar_one_or_none()
            claim = (await tx.execute(applied.order_by(effect_claim.c.taken.desc()).limit(1))).one_or_none()
            said = await _said(tx, covered, asked[-1].order) if asked else ""
        return Step(
            remedy=None if body is None else Remedy.model_validate_json(body),
            target="" if claim is None else claim.target,
            applied="" if claim is None else claim.state,
            said=said,
        )


async def place(tx: AsyncConnection, order: StopOrder) -> None:
    await tx.execute(insert(stop_order).values(id=order.order, at=order.at, body=canonical_model(order)))


async def passes(tx: AsyncConnection, order: OrderId | None, plan: PlanId, step: int) -> tuple[EpochSeen, ...]:
    """The stops that an undo of this step under this order may pass; none, if the order does not cover it."""
    found = None if order is None else await _of(tx, order)
    if found is None or not any(each.plan == plan and each.step == step for each in found.covers):
        return ()
    told = await recorded(tx, found.scope, (EntryType.STOP,))
    given = any(
        isinstance(entry, StopRecorded)
        and (entry.undo, entry.by, entry.half_done) == (found.order, found.by, found.covers)
        and entry.epoch.epoch == found.epoch
        for entry in told
    )
    return found.stands if given else ()


async def _of(tx: AsyncConnection, order: OrderId) -> StopOrder | None:
    query = (
        select(stop_order.c.body)
        .join(stop_undo, stop_undo.c.stop == stop_order.c.id)
        .where(stop_undo.c.order_id == order)
    )
    body = (await tx.execute(query)).scalar_one_or_none()
    return None if body is None else StopOrder.model_validate_json(body)


async def _said(tx: AsyncConnection, covered: HalfDone, order: OrderId) -> str:
    begins = f"{covered.plan}/{covered.step}/{EffectPhase.UNDO}/{order}"
    keys = claim_refused.c.key.startswith(begins, autoescape=True)
    refused = await tx.execute(select(claim_refused.c.reason).where(keys).order_by(claim_refused.c.key.desc()))
    reason = refused.scalars().first()
    if reason is not None:
        return str(reason)
    mine = effect_claim.c.key.startswith(begins, autoescape=True)
    query = select(effect_claim.c.state, effect_claim.c.outcome).where(mine).order_by(effect_claim.c.taken.desc())
    row = (await tx.execute(query)).first()
    if row is None:
        return ""
    return str(row.state) if row.outcome is None else EffectOutcome.model_validate_json(row.outcome).code
