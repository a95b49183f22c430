"""Reads the hashes of tree nodes from the tables: leaves, and the roots of full tiles.

A tile of level l is read as at most 256 rows: leaves for level 0, roots of level l-1 above. It trusts what it reads;
verify holds it against the entries.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.errors import LedgerError
from watchkeeper.ledger.tables import ledger_entry, ledger_tile
from watchkeeper.ledger.tree.merkle import TILE, TILE_LEVELS, Node, perfect_root


async def tile_hashes(tx: AsyncConnection, level: int, index: int) -> list[bytes]:
    """The hashes of one tile, full or not, from left to right."""
    first, end = index * TILE, (index + 1) * TILE
    if level == 0:
        query = select(ledger_entry.c.leaf).where(ledger_entry.c.idx >= first, ledger_entry.c.idx < end)
        found = await tx.execute(query.order_by(ledger_entry.c.idx))
    else:
        query = select(ledger_tile.c.root).where(
            ledger_tile.c.level == level - 1, ledger_tile.c.idx >= first, ledger_tile.c.idx < end
        )
        found = await tx.execute(query.order_by(ledger_tile.c.idx))
    return list(found.scalars())


async def node_hashes(tx: AsyncConnection, nodes: Iterable[Node]) -> dict[Node, bytes]:
    """The hashes of perfect nodes. Raises LedgerError when rows are missing."""
    tiles: dict[tuple[int, int], list[bytes]] = {}
    found: dict[Node, bytes] = {}
    for level, index in nodes:
        tile_level, inner = divmod(level, TILE_LEVELS)
        tile, offset = divmod(index << inner, TILE)
        if (tile_level, tile) not in tiles:
            tiles[tile_level, tile] = await tile_hashes(tx, tile_level, tile)
        hashes = tiles[tile_level, tile][offset : offset + (1 << inner)]
        if len(hashes) != 1 << inner:
            raise LedgerError(
                f"the tree's node {level}/{index} cannot be read",
                cause="rows of the ledger are missing in the database",
                next_step="watchkeeper ledger verify",
            )
        found[level, index] = perfect_root(hashes)
    return found
