"""Appends entries in the caller's own transaction, so that state and record cannot part.

An entry is durable when that transaction commits. It has no index yet: the sequencer gives one soon after.
The writer's row stays locked until the transaction ends, so appends of one writer stand in line: append last.
"""

from __future__ import annotations

import hashlib

from pydantic import JsonValue
from sqlalchemy import insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.clock import Clock
from watchkeeper.core.entries import GENESIS_PREV, MAX_ENTRY_BYTES, Draft, Envelope
from watchkeeper.core.errors import ConfigError, UnrecordableError
from watchkeeper.core.ids import EntryId, new_id
from watchkeeper.ledger.tables import ledger_pending, ledger_staged, ledger_writer
from watchkeeper.store.engine import Store


class Ledger:
    """One writer of the log. `source` names the installation; `writer` must be unique to this process' role in it."""

    def __init__(self, store: Store, clock: Clock, *, source: str, writer: str) -> None:
        if not source or not writer or "/" in writer or len(writer) > 128:
            raise ConfigError(
                f"{writer!r} of {source!r} cannot name a ledger writer",
                cause="a name is empty, longer than 128 characters, or the writer holds a slash",
                next_step="watchkeeper config check",
            )
        self._store, self._clock = store, clock
        self.writer, self.source = writer, f"{source}/{writer}"

    async def append(self, tx: AsyncConnection, *drafts: Draft) -> tuple[EntryId, ...]:
        """Writes the drafts as this writer's next entries. Raises UnrecordableError for one that is too large or
        that canonical JSON cannot say."""
        if not drafts:
            return ()
        last, last_hash = await self._locked(tx)
        first, prev = last + 1, last_hash.hex()
        staged: list[dict[str, object]] = []
        for seq, draft in enumerate(drafts, start=first):
            envelope = self._envelope(draft, seq, prev)
            body = _sized(envelope)
            prev = hashlib.sha256(body).hexdigest()
            staged.append(
                {
                    "entry_id": envelope.id,
                    "writer": self.writer,
                    "seq": seq,
                    "type": envelope.type,
                    "subject": envelope.subject,
                    "time": envelope.time,
                    "body": body,
                }
            )
        await tx.execute(insert(ledger_staged), staged)
        ours = select(ledger_staged.c.id).where(ledger_staged.c.writer == self.writer, ledger_staged.c.seq >= first)
        await tx.execute(insert(ledger_pending).from_select(["id"], ours))
        await tx.execute(
            update(ledger_writer)
            .where(ledger_writer.c.writer == self.writer)
            .values(seq=first + len(drafts) - 1, prev_hash=bytes.fromhex(prev))
        )
        return tuple(EntryId(str(values["entry_id"])) for values in staged)

    async def _locked(self, tx: AsyncConnection) -> tuple[int, bytes]:
        """The writer's last count and hash, its row locked; made at the first append."""
        query = (
            select(ledger_writer.c.seq, ledger_writer.c.prev_hash)
            .where(ledger_writer.c.writer == self.writer)
            .with_for_update()
        )
        row = (await tx.execute(query)).one_or_none()
        if row is not None:
            return row.seq, row.prev_hash
        start = {"writer": self.writer, "seq": 0, "prev_hash": bytes.fromhex(GENESIS_PREV)}
        insert_new = sqlite.insert if self._store.is_sqlite else postgresql.insert
        await tx.execute(insert_new(ledger_writer).values(start).on_conflict_do_nothing(index_elements=["writer"]))
        row = (await tx.execute(query)).one()
        return row.seq, row.prev_hash

    def _envelope(self, draft: Draft, seq: int, prev: str) -> Envelope:
        now = self._clock.now()
        data: dict[str, JsonValue] = draft.data.model_dump(mode="json")
        return Envelope(
            id=new_id("ent", now),
            source=self.source,
            type=draft.type,
            time=now,
            subject=draft.subject,
            wkseq=seq,
            wkprev=prev,
            data=dict(data),
        )


def _sized(envelope: Envelope) -> bytes:
    try:
        body = envelope.to_bytes()
    except ValueError as error:
        raise UnrecordableError(
            f"an entry of type {envelope.type} cannot be written as canonical JSON",
            cause="it holds NaN, an infinity, an integer above 2^53 or half a surrogate pair",
            next_step=f"look at what {envelope.subject or 'the daemon'} collected, and report this as a bug",
        ) from error
    if len(body) > MAX_ENTRY_BYTES:
        raise UnrecordableError(
            f"an entry of type {envelope.type} has {len(body)} bytes; at most {MAX_ENTRY_BYTES} fit",
            cause="a list in it is too long: bodies belong into evidence, entries hold references",
            next_step=f"look at what {envelope.subject or 'the daemon'} collected, and report this as a bug",
        )
    return body
