"""Leases: who may sequence, schedule, or drive an incident. A row with a token that only grows.

A lease alone is not safety, since its holder may sleep past the end: every protected transaction calls `check`,
which reads the token in that same transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.errors import ConflictError
from watchkeeper.store.tables import lease


@dataclass(frozen=True)
class Lease:
    name: str
    holder: str
    token: int
    expires: datetime


async def acquire(tx: AsyncConnection, name: str, holder: str, now: datetime, ttl_s: float) -> Lease | None:
    """Takes a free or expired lease with a greater token, or renews our own; None while another holds it."""
    expires = now + timedelta(seconds=ttl_s)
    insert = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    await tx.execute(
        insert(lease).values(name=name, holder="", token=0, expires=now).on_conflict_do_nothing(index_elements=["name"])
    )
    row = (await tx.execute(select(lease).where(lease.c.name == name).with_for_update())).one()
    if row.holder == holder and row.expires > now:
        token = row.token
    elif row.holder == "" or row.expires <= now:
        token = row.token + 1
    else:
        return None
    await tx.execute(update(lease).where(lease.c.name == name).values(holder=holder, token=token, expires=expires))
    return Lease(name, holder, token, expires)


async def check(tx: AsyncConnection, held: Lease) -> None:
    """Raises `ConflictError` if the lease has passed to another since; locks the row until the transaction ends."""
    row = (await tx.execute(select(lease.c.token).where(lease.c.name == held.name).with_for_update())).one_or_none()
    if row is None or row.token != held.token:
        raise ConflictError(
            f"the lease {held.name!r} has passed to another process",
            cause="this process was slower than the lease's time",
            next_step="nothing: the new holder goes on",
        )


async def release(tx: AsyncConnection, held: Lease, now: datetime) -> None:
    """Gives the lease back at once; harmless if it was already lost."""
    await tx.execute(
        update(lease).where(lease.c.name == held.name, lease.c.token == held.token).values(holder="", expires=now)
    )
