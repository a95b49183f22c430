"""What the log holds and what it costs: exact where an index answers, estimated where only a scan would.

Counts by kind come from the newest entries when the log is longer than that; growth by day from the checkpoints, whose
sizes and times rise together. It reads what the database says: it is no check.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.model import Contract
from watchkeeper.ledger.tables import (
    evidence,
    ledger_checkpoint,
    ledger_entry,
    ledger_head,
    ledger_pending,
    ledger_pruned,
    ledger_staged,
    ledger_writer,
)
from watchkeeper.store.engine import Store

SAMPLE = 20_000
"""How many of the newest entries are counted by kind."""
MAX_COUNTED = 200_000
"""Pending entries and rows of evidence are counted up to here."""
DAYS = 14
PROBES = 64
"""More than the halvings of any log's checkpoints."""


class KindCount(Contract):
    """`entries` and `bytes` of the sample, `of_all` what that makes of the whole log."""

    type: str
    entries: int
    bytes: int
    of_all: int


class EvidenceCount(Contract):
    kind: str
    bodies: int
    bytes: int
    """Before compression."""


class DayGrowth(Contract):
    day: str
    entries: int


class LedgerStats(Contract):
    """`sampled` is how many entries the kinds were counted over: the figures are exact when it is all that is kept."""

    size: int
    checkpoints: int
    pending: int
    pending_is_more: bool
    writers: int
    pruned: int
    database_bytes: int
    sampled: int
    kinds: tuple[KindCount, ...]
    evidence: tuple[EvidenceCount, ...]
    evidence_is_more: bool
    growth: tuple[DayGrowth, ...]


async def stats(store: Store, now: datetime) -> LedgerStats:
    async with store.read() as tx:
        size = (await tx.execute(select(ledger_head.c.size))).scalar_one_or_none() or 0
        sampled, kinds = await _kinds(tx, size)
        pending = await _counted(tx, select(ledger_pending.c.id).limit(MAX_COUNTED + 1).subquery())
        bodies = await _counted(tx, select(evidence.c.commitment).limit(MAX_COUNTED + 1).subquery())
        return LedgerStats(
            size=size,
            checkpoints=await _counted(tx, ledger_checkpoint),
            pending=min(pending, MAX_COUNTED),
            pending_is_more=pending > MAX_COUNTED,
            writers=await _counted(tx, ledger_writer),
            pruned=(await tx.execute(select(func.max(ledger_pruned.c.end)))).scalar_one() or 0,
            database_bytes=await _database_bytes(tx, store.is_sqlite),
            sampled=sampled,
            kinds=kinds,
            evidence=await _evidence(tx),
            evidence_is_more=bodies > MAX_COUNTED,
            growth=await _growth(tx, now),
        )


async def _counted(tx: AsyncConnection, rows: object) -> int:
    count: int = (await tx.execute(select(func.count()).select_from(rows))).scalar_one()  # type: ignore[arg-type]
    return count


async def _kinds(tx: AsyncConnection, size: int) -> tuple[int, tuple[KindCount, ...]]:
    query = (
        select(ledger_staged.c.type, func.count(), func.sum(func.length(ledger_staged.c.body)))
        .join(ledger_entry, ledger_entry.c.staged_id == ledger_staged.c.id)
        .where(ledger_entry.c.idx >= max(0, size - SAMPLE))
        .group_by(ledger_staged.c.type)
    )
    found = [(row[0], row[1], int(row[2])) for row in await tx.execute(query)]
    sampled = sum(count for _, count, _ in found)
    kinds = [
        KindCount(type=kind, entries=count, bytes=size_of, of_all=round(count * size / sampled))
        for kind, count, size_of in sorted(found, key=lambda each: (-each[1], each[0]))
    ]
    return sampled, tuple(kinds)


async def _evidence(tx: AsyncConnection) -> tuple[EvidenceCount, ...]:
    some = select(evidence.c.kind, evidence.c.size).order_by(evidence.c.kind).limit(MAX_COUNTED).subquery()
    query = select(some.c.kind, func.count(), func.sum(some.c.size)).group_by(some.c.kind).order_by(some.c.kind)
    return tuple(EvidenceCount(kind=row[0], bodies=row[1], bytes=int(row[2])) for row in await tx.execute(query))


async def _database_bytes(tx: AsyncConnection, is_sqlite: bool) -> int:
    """Of the whole database: the log shares it with the daemon's state."""
    if is_sqlite:
        pages: int = (await tx.execute(text("PRAGMA page_count"))).scalar_one()
        of: int = (await tx.execute(text("PRAGMA page_size"))).scalar_one()
        return pages * of
    found: int = (await tx.execute(text("SELECT pg_database_size(current_database())"))).scalar_one()
    return found


async def _growth(tx: AsyncConnection, now: datetime) -> tuple[DayGrowth, ...]:
    """Entries signed on each of the last days (UTC), oldest first."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    starts = [today - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    sizes = [await size_before(tx, start) for start in starts]
    newest = (await tx.execute(select(func.max(ledger_checkpoint.c.size)))).scalar_one() or 0
    ends = [*sizes[1:], newest]
    return tuple(
        DayGrowth(day=start.date().isoformat(), entries=end - first)
        for start, first, end in zip(starts, sizes, ends, strict=True)
    )


async def size_before(tx: AsyncConnection, moment: datetime) -> int:
    """The size of the log's newest checkpoint that was signed before the moment; 0 before the first. A search by
    halves over the sizes, since no checkpoint is signed before its predecessor."""
    low, high = 0, (await tx.execute(select(func.max(ledger_checkpoint.c.size)))).scalar_one() or 0
    for _ in range(PROBES):
        if low >= high:
            break
        middle = (low + high + 1) // 2
        query = select(ledger_checkpoint.c.size, ledger_checkpoint.c.signed_at).where(
            ledger_checkpoint.c.size >= middle
        )
        row = (await tx.execute(query.order_by(ledger_checkpoint.c.size).limit(1))).one()
        if row.signed_at < moment:
            low = row.size
        else:
            high = middle - 1
    before = select(func.max(ledger_checkpoint.c.size)).where(ledger_checkpoint.c.size <= low)
    found: int | None = (await tx.execute(before)).scalar_one()
    return found or 0
