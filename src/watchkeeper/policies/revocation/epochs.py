"""Stops: the epoch of each authority scope, and what was under way when it was taken away.

A scope without a row is at epoch 0 and not stopped. A stop is one commit: it waits for claims that are committing,
holds back new ones, moves the epoch and lists what is in flight; after it no claim in the scope succeeds (invariant 2).
It does not call back what was sent: that stays in flight until `observe` settles it. Lifting a stop leaves the epoch
where the stop put it, so every decision made before the stop has to be made again.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.claims import Claim, EffectPhase, EpochSeen
from watchkeeper.core.clock import Clock
from watchkeeper.core.consents import HalfDone
from watchkeeper.core.entries import Draft, EntryType, StopRecorded
from watchkeeper.core.errors import ForbiddenError, InputError
from watchkeeper.core.evidence import EvidenceRef
from watchkeeper.core.ids import OrderId, new_id
from watchkeeper.core.model import Contract, Instant
from watchkeeper.core.principals import Principal, PrincipalKind, Role
from watchkeeper.core.remedies import HELD, Remedy
from watchkeeper.ledger.append import Ledger
from watchkeeper.policies import rows
from watchkeeper.policies.revocation import stops
from watchkeeper.policies.revocation.stops import StopOrder
from watchkeeper.policies.tables import authority_epoch, effect_claim, remedy
from watchkeeper.store.engine import Priority, Store

MOST_COVERED, MOST_LISTED = 200, 500
"""What an entry of a stop can hold: half-done steps, and claims in flight. A stop never fails for their number."""

_SCOPE = re.compile(r"all|(environment|service|agent|action|target):\S{1,620}")
_PARTS = {"service": "ENVIRONMENT/NAME", "agent": "ROLE/NAME", "action": "RUNBOOK/INTENT", "target": "ADAPTER/KIND/ID"}
"""What a scope's name is made of. Without a part it covers nothing, and a stop of it would only look like one."""


Written = Callable[[AsyncConnection], Awaitable[EvidenceRef]]
"""Keeps what a person wrote, in the transaction of what they did."""


class EpochStatus(Contract):
    """One scope that authority was ever taken from."""

    scope: str
    epoch: int
    stopped: bool
    changed: Instant
    changed_by: str


class StopReport(Contract):
    """`in_flight` may still land; `half_done` is what we changed and now may not give back by ourselves. `undo`: the
    person's order to undo it all the same."""

    scope: str
    epoch: int
    in_flight: tuple[Claim, ...]
    half_done: tuple[Remedy, ...]
    undo: OrderId | None = None
    not_covered: int = 0
    """How many half-done steps the order does not cover because they are too many: order it again for those."""


class Unsettled(Contract):
    """`unknown`: its target was asked and could not say; otherwise it may still be on its way."""

    claim: Claim
    unknown: bool


class StopStanding(Contract):
    scope: str
    epoch: int
    stopped: bool
    unsettled: tuple[Unsettled, ...]


class Epochs:
    def __init__(self, store: Store, ledger: Ledger, clock: Clock) -> None:
        self._store, self._ledger, self._clock = store, ledger, clock

    async def seen(self, scopes: tuple[str, ...]) -> tuple[EpochSeen, ...]:
        """The epochs to decide under; read them before the decision's other inputs."""
        async with self._store.read() as tx:
            return await rows.epochs_seen(tx, scopes)

    async def status(self) -> tuple[EpochStatus, ...]:
        async with self._store.read() as tx:
            moved = select(authority_epoch).where(authority_epoch.c.epoch > 0)  # others are there to be locked
            found = await tx.execute(moved.order_by(authority_epoch.c.scope))
            return tuple(EpochStatus.model_validate(dict(row._mapping)) for row in found)

    async def stop(
        self, scope: str, by: Principal, *, then_undo: bool = False, why: Written | None = None
    ) -> StopReport:
        """Takes the scope's authority away, at once and until a person lifts it. `then_undo`: that person also orders,
        in the same commit, that what stands half done is undone."""
        _stoppable(scope)
        if by.kind is not PrincipalKind.DAEMON:
            _must_operate(by, "stop")
        if then_undo and by.kind is not PrincipalKind.PERSON:
            raise ForbiddenError(
                f"{by.id} may not order an undo",
                cause="only a person orders what is done under a stop; nothing was stopped",
                next_step=f"watchkeeper stop {scope}",
            )
        async with self._store.write(Priority.STOP) as tx:
            await self._store.gate_exclusive(tx)
            epoch = await self._move(tx, scope, by, stopped=True)
            in_flight = await rows.unsettled(tx, scope)
            half_done = await _half_done(tx, scope)
            every = _steps(half_done, in_flight)
            covers, flying = every[:MOST_COVERED], in_flight[:MOST_LISTED]
            not_listed = len(every) - len(covers) + len(in_flight) - len(flying)
            order = await self._order(tx, scope, epoch, by, covers) if then_undo and covers else None
            data = StopRecorded(
                scope=scope,
                stopped=True,
                epoch=EpochSeen(scope=scope, epoch=epoch),
                by=by,
                in_flight=tuple(claim.id for claim in flying),
                undo=order,
                half_done=covers,
                not_listed=not_listed,
                reason=None if why is None else await why(tx),
            )
            await self._ledger.append(tx, Draft(type=EntryType.STOP, subject=scope, data=data))
        return StopReport(
            scope=scope,
            epoch=epoch,
            in_flight=in_flight,
            half_done=half_done,
            undo=order,
            not_covered=len(every) - len(covers) if order else 0,
        )

    async def standing(self, scope: str) -> StopStanding:
        """Whether the scope is stopped, and what of it is not settled yet."""
        _checked(scope)
        query = select(authority_epoch).where(authority_epoch.c.scope == scope)
        async with self._store.read() as tx:
            row = (await tx.execute(query)).one_or_none()
            unsettled = await rows.unsettled_with_state(tx, scope)
        return StopStanding(
            scope=scope,
            epoch=0 if row is None else row.epoch,
            stopped=row is not None and row.stopped,
            unsettled=tuple(Unsettled(claim=claim, unknown=unknown) for claim, unknown in unsettled),
        )

    async def resume(self, scope: str, by: Principal, *, why: Written | None = None) -> EpochSeen:
        """Lifts a stop; only a person may."""
        _checked(scope)
        if by.kind is not PrincipalKind.PERSON:
            raise ForbiddenError("only a person may lift a stop", next_step=f"watchkeeper resume {scope}")
        _must_operate(by, "resume")
        async with self._store.write(Priority.STOP) as tx:
            await self._store.gate_exclusive(tx)
            epoch = await self._move(tx, scope, by, stopped=False)
            lifted = EpochSeen(scope=scope, epoch=epoch)
            reason = None if why is None else await why(tx)
            data = StopRecorded(scope=scope, stopped=False, epoch=lifted, by=by, reason=reason)
            await self._ledger.append(tx, Draft(type=EntryType.STOP, subject=scope, data=data))
        return lifted

    async def _move(self, tx: AsyncConnection, scope: str, by: Principal, *, stopped: bool) -> int:
        now = self._clock.now()
        return (await rows.move_epoch(tx, scope, by.id, now, stopped=stopped, up=stopped)).epoch

    async def _order(
        self, tx: AsyncConnection, scope: str, epoch: int, by: Principal, covers: tuple[HalfDone, ...]
    ) -> OrderId:
        """Places the order to undo, with every stop that stands now: those it may pass, at these epochs."""
        now = self._clock.now()
        found = await tx.execute(select(authority_epoch).where(authority_epoch.c.stopped))
        stands = sorted((row.scope, row.epoch) for row in found)
        order = StopOrder(
            order=OrderId(new_id("ord", now)),
            scope=scope,
            epoch=epoch,
            by=by,
            at=now,
            stands=tuple(EpochSeen(scope=name, epoch=at) for name, at in stands),
            covers=covers,
        )
        await stops.place(tx, order)
        return order.order


async def moved(tx: AsyncConnection, scope: str, by: Principal, now: datetime) -> EpochSeen:
    """The next epoch of a scope that stays as it is, stopped or not: what was decided before it has to be decided
    anew. For whoever takes authority away without stopping."""
    return await rows.move_epoch(tx, scope, by.id, now, stopped=None, up=True)


def _steps(half_done: tuple[Remedy, ...], in_flight: tuple[Claim, ...]) -> tuple[HalfDone, ...]:
    """What is in force, and what may turn out to be."""
    held = {
        (each.plan, each.step): HalfDone(incident=each.incident, plan=each.plan, step=each.step, remedy=each.id)
        for each in half_done
    }
    for claim in in_flight:
        if claim.phase is EffectPhase.APPLY:
            may_be = HalfDone(incident=claim.incident, plan=claim.plan, step=claim.step)
            held.setdefault((claim.plan, claim.step), may_be)
    return tuple(held[key] for key in sorted(held))


async def _half_done(tx: AsyncConnection, scope: str) -> tuple[Remedy, ...]:
    """Remedies in force whose first claim named the scope."""
    query = (
        select(remedy.c.body, effect_claim.c.body.label("claim"))
        .join(effect_claim, (effect_claim.c.plan == remedy.c.plan) & (effect_claim.c.step == remedy.c.step))
        .where(remedy.c.status.in_(HELD), effect_claim.c.phase == EffectPhase.APPLY)
        .order_by(remedy.c.id)
    )
    found: dict[str, Remedy] = {}
    for row in await tx.execute(query):
        if rows.covers(Claim.model_validate_json(row.claim), scope):
            held = Remedy.model_validate_json(row.body)
            found[held.id] = held
    return tuple(found.values())


def _checked(scope: str) -> None:
    if not _SCOPE.fullmatch(scope):
        raise InputError(
            f"{scope[:80]!r} is not an authority scope",
            cause="a scope is `all` or KIND:NAME",
            next_step="watchkeeper stop all, or one of environment:NAME, service:ENVIRONMENT/NAME, agent:ROLE/NAME, "
            "action:RUNBOOK/INTENT, target:ADAPTER/KIND/ID",
        )


def _stoppable(scope: str) -> None:
    """Lifting is not so strict: what an earlier version stopped can be lifted by the name that it had."""
    _checked(scope)
    kind, _, name = scope.partition(":")
    parts = _PARTS.get(kind, "")
    given = name.split("/", parts.count("/"))
    if len(given) <= parts.count("/") or (parts and not all(given)):
        raise InputError(
            f"{scope[:80]!r} names nothing that could be stopped",
            cause=f"{kind}: takes {parts}; nothing was stopped",
            next_step=f"watchkeeper stop {kind}:{parts}, or watchkeeper stop all",
        )


def _must_operate(by: Principal, verb: str) -> None:
    if not by.may(Role.OPERATOR):
        raise ForbiddenError(
            f"{by.id} may not {verb}", cause="it takes the role operator", next_step="ask an administrator for the role"
        )
