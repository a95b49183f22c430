"""The hot path of everything that is recorded, in the drivers' own statements: a writer's entries go in, a batch of
what waits comes out, and its indices go in.

It knows neither what an entry is nor whether chain or tree are right. Whoever puts holds the writer's row locked;
whoever takes holds the head's.
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
    SELECT each.entry_id, %(writer)s, %(before)s + each.place, each.type, each.subject, %(time)s, each.body
    FROM unnest(%(ids)b::text[], %(types)b::text[], %(subjects)b::text[], %(bodies)b::bytea[])
         WITH ORDINALITY AS each (entry_id, type, subject, body, place)
    ORDER BY each.place
    RETURNING id
), waiting AS (
    INSERT INTO ledger_pending (id) SELECT id FROM fresh
)
UPDATE ledger_writer SET seq = %(last)s, prev_hash = %(prev)s WHERE writer = %(writer)s
"""


async def put_postgresql(tx: AsyncConnection, writer: str, rows: Sequence[Staged], last_hash: bytes) -> None:
    """One statement and one round trip, whatever the number of rows, which are all of one time. Ids grow with `seq`."""
    values: dict[str, object] = {
        "ids": [row.entry_id for row in rows],
        "types": [row.type for row in rows],
        "subjects": [row.subject for row in rows],
        "bodies": [row.body for row in rows],
    }
    values |= {"writer": writer, "time": rows[0].time, "before": rows[0].seq - 1}
    await tx.exec_driver_sql(_ALL_IN_ONE, values | {"last": rows[-1].seq, "prev": last_hash})


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


async def take_postgresql(tx: AsyncConnection, limit: int) -> list[tuple[int, bytes | None]]:
    """Pending ids, oldest first, off the list; with their bodies, None where the staged row is gone."""
    found = await tx.exec_driver_sql(
        """
        WITH gone AS (
            DELETE FROM ledger_pending WHERE id IN (SELECT id FROM ledger_pending ORDER BY id LIMIT %(limit)s)
            RETURNING id
        )
        SELECT gone.id, staged.body FROM gone LEFT JOIN ledger_staged AS staged ON staged.id = gone.id ORDER BY gone.id
        """,
        {"limit": limit},
    )
    return [(row.id, row.body) for row in found]


async def take_sqlite(tx: AsyncConnection, limit: int) -> list[tuple[int, bytes | None]]:
    found = await tx.exec_driver_sql(
        "SELECT waiting.id, staged.body FROM ledger_pending AS waiting "
        "LEFT JOIN ledger_staged AS staged ON staged.id = waiting.id ORDER BY waiting.id LIMIT ?",
        (limit,),
    )
    rows: list[tuple[int, bytes | None]] = [(row.id, row.body) for row in found]
    if rows:
        await tx.exec_driver_sql("DELETE FROM ledger_pending WHERE id <= ?", (rows[-1][0],))
    return rows


async def index_postgresql(tx: AsyncConnection, first: int, ids: list[int], leaves: list[bytes]) -> None:
    """Gives the staged ids the indices from `first` on."""
    await tx.exec_driver_sql(
        """
        INSERT INTO ledger_entry (idx, staged_id, leaf)
        SELECT %(before)s + each.place, each.id, each.leaf
        FROM unnest(%(ids)b::bigint[], %(leaves)b::bytea[]) WITH ORDINALITY AS each (id, leaf, place)
        """,
        {"before": first - 1, "ids": ids, "leaves": leaves},
    )


async def index_sqlite(tx: AsyncConnection, first: int, ids: list[int], leaves: list[bytes]) -> None:
    await tx.exec_driver_sql(
        "INSERT INTO ledger_entry (idx, staged_id, leaf) VALUES (?, ?, ?)",
        list(zip(range(first, first + len(ids)), ids, leaves, strict=True)),
    )
