"""Leaf hashes in, C2SP tiles out, pure; and the bundles of entries beside them.

Memory holds one row of at most 256 hashes for each level. It writes and checks nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from watchkeeper.core.entries import MAX_ENTRY_BYTES
from watchkeeper.ledger.tree.merkle import TILE, perfect_root
from watchkeeper.ledger.tree.tilepath import TilePath


class Tiling:
    """A tree that grows, as its tiles."""

    def __init__(self) -> None:
        self._rows: list[list[bytes]] = [[]]
        self._full: list[int] = [0]

    def append(self, leaf: bytes) -> Iterator[tuple[TilePath, bytes]]:
        """The tiles that a leaf makes full, from the lowest upwards."""
        found, level = leaf, 0
        while True:
            row = self._rows[level]
            row.append(found)
            if len(row) < TILE:
                return
            yield TilePath(level, self._full[level]), b"".join(row)
            found = perfect_root(row)
            row.clear()
            self._full[level] += 1
            level += 1
            if level == len(self._rows):
                self._rows.append([])
                self._full.append(0)

    def rest(self) -> Iterator[tuple[TilePath, bytes]]:
        """The partial tiles of the tree as it is."""
        for level, row in enumerate(self._rows):
            if row:
                yield TilePath(level, self._full[level], len(row)), b"".join(row)


def bundle(bodies: Iterable[bytes]) -> bytes:
    """Entries, each behind its length as a big-endian uint16."""
    return b"".join(len(body).to_bytes(2, "big") + body for body in bodies)


def unbundle(data: bytes) -> list[bytes]:
    """Raises ValueError for what is not exactly a bundle of at most 256 entries."""
    bodies: list[bytes] = []
    at = 0
    while at < len(data):
        start = at + 2
        at = start + int.from_bytes(data[at:start], "big")
        if start > len(data) or at > len(data) or len(bodies) == TILE:
            raise ValueError("the bundle is cut, or holds more than 256 entries")
        bodies.append(data[start:at])
    return bodies


MAX_BUNDLE = TILE * (2 + MAX_ENTRY_BYTES)
