"""Puts a batch of one writer's entries into the tables: rows, pending ids and the writer's new place.

The statements are the drivers' own: this is the hot path of everything that is recorded. It knows neither what an entry
is nor whether the chain is right; the caller holds the writer's row locked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection


class Staged(NamedTuple):
    """A row of `ledger_staged` without its id; `time` as text."""

    entry_id: str
    seq: int
    type: str
    subject: str
    time: str
    body: bytes


_ALL_IN_ONE = """
WITH fresh AS (
    INSERT INTO ledger_staged (entry_id, writer, seq, type, subject, time, body)
    SELECT each.entry_id, %(writer)s, each.seq, each.type, each.subject, each.time, each.body
    FROM unnest(%(ids)b::text[], %(seqs)b::bigint[], %(types)b::text[], %(subjects)b::text[], %(times)b::text[],
                %(bodies)b::bytea[]) AS each (entry_id, seq, type, subject, time, body)
    ORDER BY each.seq
    RETURNING id
), waiting AS (
    INSERT INTO ledger_pending (id) SELECT id FROM fresh
)
UPDATE ledger_writer SET seq = %(last)s, prev_hash = %(prev)s WHERE writer = %(writer)s
"""


async def put_postgresql(tx: AsyncConnection, writer: str, rows: Sequence[Staged], last_hash: bytes) -> None:
    """One statement and one round trip, whatever the number of rows. Ids grow with `seq`."""
    ids, seqs, types, subjects, times, bodies = (list(column) for column in zip(*rows, strict=True))
    values = {"ids": ids, "seqs": seqs, "types": types, "subjects": subjects, "times": times, "bodies": bodies}
    await tx.exec_driver_sql(_ALL_IN_ONE, values | {"writer": writer, "last": rows[-1].seq, "prev": last_hash})


async def put_sqlite(tx: AsyncConnection, writer: str, rows: Sequence[Staged], last_hash: bytes) -> None:
    """The one write transaction gives ids without a gap, so the newest of them are those of these rows."""
    await tx.exec_driver_sql(
        "INSERT INTO ledger_staged (writer, entry_id, seq, type, subject, time, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(writer, *row) for row in rows],
    )
    await tx.exec_driver_sql(
        "INSERT INTO ledger_pending (id) SELECT id FROM ledger_staged WHERE writer = ? AND seq >= ?",
        (writer, rows[0].seq),
    )
    await tx.exec_driver_sql(
        "UPDATE ledger_writer SET seq = ?, prev_hash = ? WHERE writer = ?", (rows[-1].seq, last_hash, writer)
    )
