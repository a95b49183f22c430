"""What an archive needs of the database: ranges of entries, where the tree stood, and which archives were made.

It trusts the hashes that it reads; entries are held against their leaf hashes here, and the tree against its signed
checkpoint by whoever archives.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.entries import Archived, EntryType, Envelope
from watchkeeper.ledger.archive.files import Frontier
from watchkeeper.ledger.tables import ledger_checkpoint, ledger_entry, ledger_staged
from watchkeeper.ledger.tree.merkle import TILE, TILE_LEVELS, Tree, nodes_of
from watchkeeper.ledger.tree.tiles import node_hashes, tile_hashes


class Row(NamedTuple):
    """`body` is None where the entry was pruned."""

    idx: int
    leaf: bytes
    body: bytes | None


async def rows(tx: AsyncConnection, first: int, end: int) -> list[Row]:
    joined = ledger_entry.outerjoin(ledger_staged, ledger_staged.c.id == ledger_entry.c.staged_id)
    query = select(ledger_entry.c.idx, ledger_entry.c.leaf, ledger_staged.c.body).select_from(joined)
    query = query.where(ledger_entry.c.idx >= first, ledger_entry.c.idx < end).order_by(ledger_entry.c.idx)
    return [Row(*row) for row in await tx.execute(query)]


async def leaves(tx: AsyncConnection, first: int, end: int) -> list[bytes]:
    query = select(ledger_entry.c.leaf).where(ledger_entry.c.idx >= first, ledger_entry.c.idx < end)
    return list((await tx.execute(query.order_by(ledger_entry.c.idx))).scalars())


async def frontier(tx: AsyncConnection, size: int) -> Frontier:
    """Where the tree stood at a whole number of tiles."""
    nodes = nodes_of((0, size))
    known = await node_hashes(tx, nodes)
    found = Frontier(Tree(size, [known[node] for node in nodes]))
    level, full = 1, size // TILE
    while full:
        found.rows[level] = (await tile_hashes(tx, level, full // TILE))[: full % TILE]
        level, full = level + 1, full >> TILE_LEVELS
    return found


async def checkpoint(tx: AsyncConnection, size: int) -> str | None:
    query = select(ledger_checkpoint.c.body).where(ledger_checkpoint.c.size == size)
    found: str | None = (await tx.execute(query)).scalar_one_or_none()
    return found


async def segment_size(tx: AsyncConnection, first: int, span: int) -> int | None:
    """The size of the checkpoint under which the next segment goes: the last that makes it no longer than `span`, or
    else the first that fills a bundle at all; None if none does."""
    size = ledger_checkpoint.c.size
    last = select(func.max(size)).where(size >= first + TILE, size < first + span + TILE)
    next_one = select(func.min(size)).where(size >= first + TILE)
    for query in (last, next_one):
        found: int | None = (await tx.execute(query)).scalar_one()
        if found is not None:
            return found
    return None


async def newest_end(tx: AsyncConnection) -> int:
    """Where the last whole bundle that is signed ends."""
    newest: int | None = (await tx.execute(select(func.max(ledger_checkpoint.c.size)))).scalar_one()
    return (newest or 0) // TILE * TILE


async def archives(tx: AsyncConnection, place: str) -> list[Archived]:
    """What the ledger says was archived there, in order, as far as it goes on without a gap from the first entry."""
    query = select(ledger_staged.c.body).where(ledger_staged.c.type == EntryType.ARCHIVED).order_by(ledger_staged.c.id)
    found: list[Archived] = []
    for body in (await tx.execute(query)).scalars():
        data = Envelope.model_validate_json(body).typed()
        if isinstance(data, Archived) and data.place == place and data.first == (found[-1].end if found else 0):
            found.append(data)
    return found
