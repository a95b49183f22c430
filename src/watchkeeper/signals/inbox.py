"""Where signals become durable: once per (source, id), in an order that readers can follow by offset.

`accept` returns after the commit, or raises and has stored nothing. Offsets only grow and become visible in order, with
gaps; a reader that has seen offset n never finds a new signal at or below it. A signal that was pruned and is sent
again is new again: readers must bear that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError
from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import InputError, StoreError, UnavailableError
from watchkeeper.core.signals import SIGNAL, Sample, Signal
from watchkeeper.signals.tables import signal_inbox
from watchkeeper.store.engine import Store

ORDER_LOCK = 0x57_4B_02
"""PostgreSQL gives numbers before commits: without this lock a reader could pass over a number still to come."""

RECOUNT_S = 30.0
PRUNE_BATCH = 10_000


@dataclass(frozen=True)
class Accepted:
    """`offset` is the highest one given to this request's signals; 0 where all were known."""

    new: int
    duplicates: int
    offset: int


class Inbox:
    def __init__(self, store: Store, clock: Clock, capacity: int) -> None:
        self._store, self._clock, self._capacity = store, clock, capacity
        self._held, self._counted = 0, -math.inf

    async def put(self, tx: AsyncConnection, signal: Signal) -> int:
        """Keeps one of our own signals in the transaction of what it tells of, full or not; its offset, 0 where it was
        known."""
        await self._in_order(tx)
        return max(await self._insert(tx, self._rows([signal])), default=0)

    async def _in_order(self, tx: AsyncConnection) -> None:
        if not self._store.is_sqlite:
            await tx.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ORDER_LOCK})

    async def accept(self, source: str, signals: Sequence[Signal]) -> Accepted:
        """Keeps the signals in one transaction. Raises UnavailableError where they do not all fit."""
        rows = self._rows(signals)
        if not rows:
            return Accepted(0, 0, 0)
        async with self._store.write() as tx:
            await self._in_order(tx)
            held = await self._count(tx)
            offsets = await self._insert(tx, rows)
            if offsets and held + len(offsets) > self._capacity:
                self._counted = -math.inf
                raise UnavailableError(
                    f"the inbox is full: {len(signals)} signals from {source} were not taken",
                    cause=f"it holds {held} of {self._capacity} signals: more come than are forgotten",
                    next_step="send again later; raise inbox_capacity, or sample at the source",
                )
        self._held = held + len(offsets)
        return Accepted(len(offsets), len(signals) - len(offsets), max(offsets, default=0))

    def _rows(self, signals: Sequence[Signal]) -> list[dict[str, object]]:
        refuse_unstorable(signals)
        received = self._clock.now()
        rows: dict[tuple[str, str], dict[str, object]] = {}
        for signal in signals:
            rows.setdefault(
                (signal.source, signal.id),
                {
                    "source": signal.source,
                    "id": signal.id,
                    "at": signal.at,
                    "received": received,
                    "body": canonical_model(signal),
                },
            )
        return list(rows.values())

    async def _insert(self, tx: AsyncConnection, rows: list[dict[str, object]]) -> list[int]:
        into = sqlite.insert if self._store.is_sqlite else postgresql.insert
        statement = (
            into(signal_inbox).on_conflict_do_nothing(index_elements=["source", "id"]).returning(signal_inbox.c.offset)
        )
        return list((await tx.execute(statement, rows)).scalars())

    async def _count(self, tx: AsyncConnection) -> int:
        """How many are held; counted anew now and then, since other processes accept and prune too."""
        now = self._clock.monotonic()
        if now - self._counted >= RECOUNT_S:
            self._held = (await tx.execute(select(func.count()).select_from(signal_inbox))).scalar_one()
            self._counted = now
        return self._held

    async def after(self, offset: int, limit: int) -> list[tuple[int, datetime, Signal]]:
        """Up to `limit` signals beyond the offset, in order, as (offset, received, signal)."""
        query = (
            select(signal_inbox.c.offset, signal_inbox.c.received, signal_inbox.c.body)
            .where(signal_inbox.c.offset > offset)
            .order_by(signal_inbox.c.offset)
            .limit(limit)
        )
        async with self._store.read() as tx:
            rows = (await tx.execute(query)).all()
        return [(row.offset, row.received, _signal(row.offset, row.body)) for row in rows]

    async def prune(self, before: datetime, read_to: int) -> int:
        """Forgets what was received before and lies at or below the offset that readers have kept, in small
        transactions so that senders need not wait; returns how many."""
        old = (
            select(signal_inbox.c.offset)
            .where(signal_inbox.c.received < before, signal_inbox.c.offset <= read_to)
            .order_by(signal_inbox.c.offset)
            .limit(PRUNE_BATCH)
        )
        total = 0
        while True:
            async with self._store.write() as tx:
                gone = (await tx.execute(delete(signal_inbox).where(signal_inbox.c.offset.in_(old)))).rowcount
            total += gone
            if gone < PRUNE_BATCH:
                self._counted = -math.inf
                return total


def refuse_unstorable(signals: Sequence[Signal]) -> None:
    """What a database or JSON cannot hold must not look like a database that is down. Raises InputError."""
    for place, signal in enumerate(signals):
        _refuse_one(signal, f"signals[{place}]")


def _refuse_one(signal: Signal, place: str) -> None:
    if "\x00" in signal.id or "\x00" in signal.source:
        what = "the signal's id or source holds a NUL character"
    elif isinstance(signal, Sample) and not math.isfinite(signal.value):
        what = "the sample's value is not a finite number"
    else:
        return
    raise InputError(what, place=place, cause="the sender's data are broken", next_step="leave such signals out")


def _signal(offset: int, body: bytes) -> Signal:
    try:
        return SIGNAL.validate_json(body)
    except ValidationError as error:
        raise StoreError(
            f"this version cannot read the signal at inbox offset {offset}",
            cause="a newer version of Watchkeeper wrote it, or the database is damaged",
            next_step="start the newer version, or restore the backup",
        ) from error
