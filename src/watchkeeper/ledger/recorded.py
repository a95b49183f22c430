"""What was appended about a subject, as the caller's transaction sees it, sequenced or not.

For gates that must not believe a row where the record says otherwise. It does not verify the entries.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.entries import EntryType, Envelope
from watchkeeper.core.model import Contract
from watchkeeper.ledger.tables import ledger_staged

MOST = 1000
"""Of an incident's entries of a few kinds there are a handful; more are not read."""


async def page(
    tx: AsyncConnection, subject: str, kinds: Collection[EntryType], *, limit: int, before: int | None = None
) -> list[tuple[int, Envelope]]:
    """The subject's entries of these kinds with their numbers, the newest first; `before`: older than that number. A
    number orders entries of this database as they were appended, and is not their index in the log."""
    query = (
        select(ledger_staged.c.id, ledger_staged.c.body)
        .where(ledger_staged.c.subject == subject, ledger_staged.c.type.in_([str(kind) for kind in kinds]))
        .order_by(ledger_staged.c.id.desc())
        .limit(min(limit, MOST))
    )
    if before is not None:
        query = query.where(ledger_staged.c.id < before)
    return [(row.id, Envelope.model_validate_json(row.body)) for row in await tx.execute(query)]


async def recorded(tx: AsyncConnection, subject: str, kinds: Collection[EntryType]) -> tuple[Contract, ...]:
    """The data of the subject's entries of these kinds, the newest `MOST` of them, oldest first."""
    query = (
        select(ledger_staged.c.body)
        .where(ledger_staged.c.subject == subject, ledger_staged.c.type.in_([str(kind) for kind in kinds]))
        .order_by(ledger_staged.c.id.desc())
        .limit(MOST)
    )
    bodies = (await tx.execute(query)).scalars().all()
    return tuple(Envelope.model_validate_json(body).typed() for body in reversed(bodies))
