"""The log's tiles and bundles as C2SP tlog-tiles serves them, read from the tables.

What is served never changes: a tile is there once the signed tree covers it. Entries that were pruned are not found any
more; their hashes still are. It trusts the rows it reads: whoever fetches checks tiles against a checkpoint.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.errors import LedgerError, NotFoundError
from watchkeeper.ledger.snapshot import Snapshot
from watchkeeper.ledger.tables import ledger_checkpoint, ledger_entry, ledger_pruned, ledger_staged
from watchkeeper.ledger.tree.merkle import TILE
from watchkeeper.ledger.tree.tilepath import TilePath
from watchkeeper.ledger.tree.tiles import tile_hashes
from watchkeeper.ledger.tree.tiling import bundle


class Kept(NamedTuple):
    """What is kept of one index: `body` is None where the entry was pruned."""

    leaf: bytes
    body: bytes | None


async def minimum_index(tx: AsyncConnection) -> int:
    """Entries below it may be gone."""
    found: int | None = (await tx.execute(select(func.max(ledger_pruned.c.end)))).scalar_one()
    return found or 0


async def kept_rows(tx: AsyncConnection, first: int, end: int) -> list[Kept]:
    """Every index of a stretch, in order. Raises LedgerError where one is missing, or its entry is and was not
    pruned."""
    joined = ledger_entry.outerjoin(ledger_staged, ledger_staged.c.id == ledger_entry.c.staged_id)
    query = select(ledger_entry.c.idx, ledger_entry.c.leaf, ledger_staged.c.body).select_from(joined)
    query = query.where(ledger_entry.c.idx >= first, ledger_entry.c.idx < end).order_by(ledger_entry.c.idx)
    rows = (await tx.execute(query)).all()
    gone = [row.idx for row in rows if row.body is None]
    if len(rows) != end - first or (gone and gone[-1] >= await minimum_index(tx)):
        raise LedgerError(
            f"entries {first} to {end - 1} cannot be read",
            cause="rows of the ledger are missing in the database",
            next_step="watchkeeper ledger verify",
        )
    return [Kept(row.leaf, row.body) for row in rows]


async def checkpoint_at(tx: AsyncConnection, size: int) -> str:
    """The log's own checkpoint of that size, without cosignatures. Raises NotFoundError."""
    query = select(ledger_checkpoint.c.body).where(ledger_checkpoint.c.size == size)
    body: str | None = (await tx.execute(query)).scalar_one_or_none()
    if body is None:
        raise NotFoundError(
            f"no checkpoint has {size} entries",
            cause="each batch has one, and no batch ended there",
            next_step="watchkeeper ledger checkpoint: its second line is a size that has one",
        )
    return body


async def tile(tx: AsyncConnection, path: TilePath) -> bytes:
    """The bytes of one tile or bundle. Raises NotFoundError for one that the signed tree does not have."""
    size = (await Snapshot(tx).head()).size
    if not path.within(size):
        raise NotFoundError(
            f"{path.to_text()} is not in this log",
            cause=f"the log has {size} entries",
            next_step="fetch the checkpoint first: its size says which tiles there are",
        )
    if path.level is not None:
        return b"".join((await tile_hashes(tx, path.level, path.number))[: path.width])
    rows = await kept_rows(tx, path.number * TILE, path.end)
    bodies = [row.body for row in rows if row.body is not None]
    if len(bodies) < len(rows):
        raise NotFoundError(
            f"{path.to_text()} is not served any more",
            cause=f"entries below {await minimum_index(tx)} were pruned; their hashes are still in tile/0",
            next_step="look for them in the archive",
        )
    return bundle(bodies)
