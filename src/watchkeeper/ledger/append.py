"""Appends entries in the caller's own transaction, so that state and record cannot part.

An entry is durable when that transaction commits. It has no index yet: the sequencer gives one soon after.
The writer's row stays locked until the transaction ends, so appends of one writer stand in line: append last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.clock import Clock
from watchkeeper.core.entries import GENESIS_PREV, MAX_ENTRY_BYTES, Draft, entry_bytes
from watchkeeper.core.errors import ConfigError, LedgerError, UnrecordableError
from watchkeeper.core.ids import EntryId, new_ids
from watchkeeper.core.model import format_instant
from watchkeeper.ledger import staging
from watchkeeper.ledger.staging import Staged
from watchkeeper.ledger.tables import ledger_pending, ledger_writer
from watchkeeper.store.engine import Store

MAX_PENDING = 200_000
"""How many entries may wait for the sequencer before no more are taken."""
LOOK_EVERY = 1_000
"""After how many entries of its own a writer looks how many wait: each may overshoot the bound by as many."""


class _Chain(NamedTuple):
    """Where a writer stands: the count of its last entry, and that entry's SHA-256 in hex."""

    seq: int
    prev: str


class Ledger:
    """One writer of the log. `source` names the installation; `writer` must be unique to this process' role in it."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        source: str,
        writer: str,
        max_pending: int = MAX_PENDING,
        holds_secret: Callable[[bytes], bool] = lambda body: False,
    ) -> None:
        if not source or not writer or "/" in writer or len(writer) > 128:
            raise ConfigError(
                f"{writer!r} of {source!r} cannot name a ledger writer",
                cause="a name is empty, longer than 128 characters, or the writer holds a slash",
                next_step="watchkeeper config check",
            )
        self._store, self._clock, self._max_pending = store, clock, max_pending
        self._unlooked = LOOK_EVERY
        self._holds_secret = holds_secret
        self.writer, self.source = writer, f"{source}/{writer}"
        self.appended = 0
        """How many entries were handed to transactions, whether these committed or not."""

    async def append(self, tx: AsyncConnection, *drafts: Draft) -> tuple[EntryId, ...]:
        """Writes the drafts as this writer's next entries. Raises UnrecordableError for one that is too large or
        that canonical JSON cannot say, or that holds a secret; LedgerError when too many entries wait for their
        index."""
        if not drafts:
            return ()
        await self._look(tx, len(drafts))
        rows, end = self._sealed(drafts, await self._locked(tx))
        put = staging.put_sqlite if self._store.is_sqlite else staging.put_postgresql
        await put(tx, self.writer, rows, bytes.fromhex(end.prev))
        self.appended += len(rows)
        return tuple(EntryId(row.entry_id) for row in rows)

    def _sealed(self, drafts: tuple[Draft, ...], last: _Chain) -> tuple[list[Staged], _Chain]:
        now = self._clock.now()
        time, (seq, prev) = format_instant(now), last
        rows: list[Staged] = []
        for draft, entry_id in zip(drafts, new_ids("ent", now, len(drafts)), strict=True):
            seq += 1
            try:
                body = entry_bytes(
                    id=entry_id,
                    source=self.source,
                    type=draft.type,
                    time=time,
                    subject=draft.subject,
                    wkseq=seq,
                    wkprev=prev,
                    data=canonical_model(draft.data),
                )
            except ValueError as error:
                raise _unsayable(draft) from error
            if len(body) > MAX_ENTRY_BYTES:
                raise _too_large(draft, len(body))
            if self._holds_secret(body):
                raise _secret_in(draft)
            prev = hashlib.sha256(body).hexdigest()
            rows.append(Staged(entry_id, seq, draft.type, draft.subject, time, body))
        return rows, _Chain(seq, prev)

    async def _locked(self, tx: AsyncConnection) -> _Chain:
        """The writer's last count and hash, its row locked; made at the first append."""
        query = (
            select(ledger_writer.c.seq, ledger_writer.c.prev_hash)
            .where(ledger_writer.c.writer == self.writer)
            .with_for_update()
        )
        row = (await tx.execute(query)).one_or_none()
        if row is None:
            start = {"writer": self.writer, "seq": 0, "prev_hash": bytes.fromhex(GENESIS_PREV)}
            insert_new = sqlite.insert if self._store.is_sqlite else postgresql.insert
            await tx.execute(insert_new(ledger_writer).values(start).on_conflict_do_nothing(index_elements=["writer"]))
            row = (await tx.execute(query)).one()
        return _Chain(row.seq, row.prev_hash.hex())

    async def _look(self, tx: AsyncConnection, count: int) -> None:
        """Every so often: is the sequencer so far behind that more would only pile up? Counts no further than the
        bound. A refusal is no state: the next append looks again."""
        self._unlooked += count
        if self._unlooked < LOOK_EVERY:
            return
        beyond = select(ledger_pending.c.id).order_by(ledger_pending.c.id).offset(self._max_pending).limit(1)
        if (await tx.execute(beyond)).one_or_none() is not None:
            raise LedgerError(
                f"more than {self._max_pending} entries wait for their index; no more are taken",
                cause="the sequencer stands still, or does not keep up",
                next_step="watchkeeper status, and the daemon's log: why does it not sequence?",
            )
        self._unlooked = 0


def _unsayable(draft: Draft) -> UnrecordableError:
    return UnrecordableError(
        f"an entry of type {draft.type} cannot be written as canonical JSON",
        cause="it holds NaN, an infinity, an integer above 2^53 or half a surrogate pair",
        next_step=f"look at what {draft.subject or 'the daemon'} collected, and report this as a bug",
    )


def _too_large(draft: Draft, size: int) -> UnrecordableError:
    return UnrecordableError(
        f"an entry of type {draft.type} has {size} bytes; at most {MAX_ENTRY_BYTES} fit",
        cause="a list in it is too long: bodies belong into evidence, entries hold references",
        next_step=f"look at what {draft.subject or 'the daemon'} collected, and report this as a bug",
    )


def _secret_in(draft: Draft) -> UnrecordableError:
    return UnrecordableError(
        f"an entry of type {draft.type} would hold a secret of the settings, and entries cannot be erased",
        cause="something that is watched names itself by a key or token of ours",
        next_step="find what calls itself so, rename it, and change that secret",
    )
