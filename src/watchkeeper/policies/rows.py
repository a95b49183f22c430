"""Queries that several parts of the authority share. Each runs in the caller's transaction; none decides anything."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.claims import Claim, EpochSeen
from watchkeeper.core.ids import ActionKey, PlanId
from watchkeeper.policies.tables import authority_epoch, effect_claim

OPEN = "open"
UNKNOWN = "unknown"
UNSETTLED = (OPEN, UNKNOWN)
COUNTING = 0x57_4B_02
"""The advisory lock of claims under caps that count (PostgreSQL), taken before the gate that stops take alone."""


async def claimed(tx: AsyncConnection, plan: PlanId, besides: ActionKey | None = None) -> bool:
    """Whether anything of the plan was ever claimed, `besides` left out."""
    query = select(effect_claim.c.key).where(effect_claim.c.plan == plan)
    if besides is not None:
        query = query.where(effect_claim.c.key != besides)
    return (await tx.execute(query.limit(1))).first() is not None


async def epochs_seen(tx: AsyncConnection, scopes: tuple[str, ...]) -> tuple[EpochSeen, ...]:
    found = await tx.execute(select(authority_epoch).where(authority_epoch.c.scope.in_(scopes)))
    known = {row.scope: row.epoch for row in found}
    return tuple(EpochSeen(scope=scope, epoch=known.get(scope, 0)) for scope in sorted(set(scopes)))


async def hold_epochs(tx: AsyncConnection, scopes: Iterable[str], by: str, now: datetime) -> None:
    """Keeps the scopes as they are until the end of the transaction, for whoever may move them in it, or says what
    holds only while they stay: locks are taken in one order, and epochs come before fields and the ledger. A scope
    without a row gets one, so that there is something to lock."""
    held = sorted(set(scopes))
    new = {"epoch": 0, "stopped": False, "changed": now, "changed_by": by}
    for scope in held:
        await tx.execute(insert_or_ignore(tx)(authority_epoch).values(scope=scope, **new).on_conflict_do_nothing())
    query = select(authority_epoch.c.scope).where(authority_epoch.c.scope.in_(held)).order_by(authority_epoch.c.scope)
    await tx.execute(query.with_for_update())


async def move_epoch(
    tx: AsyncConnection, scope: str, by: str, now: datetime, *, stopped: bool | None, up: bool
) -> EpochSeen:
    """The scope's next epoch (`up`), or the one it has; `stopped` None leaves that as it is. In one statement, since
    between a read and a write of it another may move it, and one of the two moves would be lost."""
    said = {"changed": now, "changed_by": by}
    new = insert_or_ignore(tx)(authority_epoch).values(scope=scope, epoch=int(up), stopped=bool(stopped), **said)
    moved = {"epoch": authority_epoch.c.epoch + int(up), **said} | ({} if stopped is None else {"stopped": stopped})
    query = new.on_conflict_do_update(index_elements=["scope"], set_=moved).returning(authority_epoch.c.epoch)
    return EpochSeen(scope=scope, epoch=int((await tx.execute(query)).scalar_one()))


async def stopped_or_moved(
    tx: AsyncConnection, seen: tuple[EpochSeen, ...], *, lock: bool, passes: tuple[EpochSeen, ...] = ()
) -> tuple[str, str] | None:
    """The first scope that forbids, with why (`stopped` or `epoch_moved`); locks are shared and in order of scope.
    `passes`: stops that do not forbid, each at its epoch and no other."""
    query = (
        select(authority_epoch)
        .where(authority_epoch.c.scope.in_([epoch.scope for epoch in seen]))
        .order_by(authority_epoch.c.scope)
    )
    if lock:
        query = query.with_for_update(read=True)
    known = {row.scope: row for row in await tx.execute(query)}
    for epoch in seen:
        row = known.get(epoch.scope)
        if row is not None and row.stopped and EpochSeen(scope=row.scope, epoch=row.epoch) not in passes:
            return epoch.scope, "stopped"
        if (0 if row is None else row.epoch) != epoch.epoch:
            return epoch.scope, "epoch_moved"
    return None


async def counting_alone(tx: AsyncConnection) -> None:
    """Until the end of the transaction nobody else counts and then claims. SQLite has one writer at a time anyway."""
    if tx.dialect.name == "postgresql":
        await tx.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": COUNTING})


async def unsettled(tx: AsyncConnection, scope: str = "all") -> tuple[Claim, ...]:
    """Claims whose effect may still land or is not known, oldest first."""
    return tuple(claim for claim, _ in await unsettled_with_state(tx, scope))


async def unsettled_with_state(tx: AsyncConnection, scope: str) -> tuple[tuple[Claim, bool], ...]:
    """The same, and of each whether its target was asked and could not say."""
    found = await tx.execute(
        select(effect_claim.c.body, effect_claim.c.state)
        .where(effect_claim.c.state.in_(UNSETTLED))
        .order_by(effect_claim.c.taken)
    )
    claims = ((Claim.model_validate_json(row.body), row.state == UNKNOWN) for row in found)
    return tuple((claim, unknown) for claim, unknown in claims if covers(claim, scope))


def covers(claim: Claim, scope: str) -> bool:
    return any(epoch.scope == scope for epoch in claim.epochs)


def insert_or_ignore(tx: AsyncConnection) -> type[sqlite.Insert] | type[postgresql.Insert]:
    """The dialect's INSERT that can say ON CONFLICT DO NOTHING."""
    return sqlite.Insert if tx.dialect.name == "sqlite" else postgresql.Insert
