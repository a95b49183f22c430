"""Queries that several parts of the authority share. Each runs in the caller's transaction; none decides anything."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.claims import Claim, EpochSeen
from watchkeeper.core.remedies import RemedyStatus
from watchkeeper.policies.tables import authority_epoch, effect_claim

OPEN = "open"
UNKNOWN = "unknown"
UNSETTLED = (OPEN, UNKNOWN)
HELD = (RemedyStatus.IN_FORCE, RemedyStatus.RELEASING)


async def epochs_seen(tx: AsyncConnection, scopes: tuple[str, ...]) -> tuple[EpochSeen, ...]:
    found = await tx.execute(select(authority_epoch).where(authority_epoch.c.scope.in_(scopes)))
    known = {row.scope: row.epoch for row in found}
    return tuple(EpochSeen(scope=scope, epoch=known.get(scope, 0)) for scope in sorted(set(scopes)))


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
