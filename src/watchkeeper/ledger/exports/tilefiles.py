"""The tiles of an export on disk: held against the entries, and entries read from their bundles.

A tile that is missing, differs, or is one too many is named by its path. Memory stays flat: one page of hashes for each
level of the tree.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from watchkeeper.ledger.checks.audit import Code
from watchkeeper.ledger.tree.merkle import HASH_BYTES, TILE, Tree, leaf_hash
from watchkeeper.ledger.tree.tilepath import TilePath, width_at
from watchkeeper.ledger.tree.tiling import MAX_BUNDLE, Tiling, bundle, unbundle

_DEEPEST = 12
Tell = Callable[[str, Code], None]


class TileFiles:
    """Feed it every entry in order, then close it."""

    def __init__(self, directory: Path, problem: Tell) -> None:
        self._directory, self._problem = directory, problem
        self._tiling = Tiling()
        self._size = self._first = 0
        self._bodies: list[bytes] = []

    def before(self, tree: Tree) -> None:
        """Takes the hashes of the entries that are not there from the tiles; `tree` says what they must give."""
        given = Tree()
        self._first = tree.size
        while given.size < tree.size:
            width = min(TILE, tree.size - given.size)
            hashes = self._hashes(given.size // TILE)[: width * HASH_BYTES]
            if len(hashes) < width * HASH_BYTES:
                break
            for at in range(0, len(hashes), HASH_BYTES):
                given.append(hashes[at : at + HASH_BYTES])
                self._leaf(hashes[at : at + HASH_BYTES])
        if given.packed() != tree.packed():
            self._problem("start", Code.TILE_DIFFERS)

    def row(self, body: bytes) -> None:
        self._bodies.append(body)
        self._leaf(leaf_hash(body))
        if self._size % TILE == 0:
            self._bundle()

    def close(self) -> None:
        """What is left: the partial tiles, and files that no tree of this size has."""
        if self._bodies:
            self._bundle()
        for path, data in self._tiling.rest():
            self._held(path, data)
        for name in _names(self._directory, "tile"):
            if not self._expected(name):
                self._problem(name, Code.TILE_DIFFERS)

    def _leaf(self, leaf: bytes) -> None:
        for path, data in self._tiling.append(leaf):
            self._held(path, data)
        self._size += 1

    def _bundle(self) -> None:
        """The bundle that ends here; one whose first entries are not there cannot be."""
        number = (self._size - 1) // TILE
        if number * TILE >= self._first:
            self._held(TilePath(None, number, len(self._bodies)), bundle(self._bodies))
        self._bodies = []

    def _held(self, path: TilePath, data: bytes) -> None:
        if _bytes_of(self._directory / path.to_text(), len(data)) != data:
            self._problem(path.to_text(), Code.TILE_DIFFERS)

    def _hashes(self, number: int) -> bytes:
        """A tile of level 0 as it is on disk, whole or partial."""
        path = _widest(self._directory, 0, number)
        return b"" if path is None else _bytes_of(self._directory / path.to_text(), TILE * HASH_BYTES) or b""

    def _expected(self, name: str) -> bool:
        try:
            path = TilePath.from_text(name)
        except ValueError:
            return False
        if path.level is None and path.number * TILE < self._first:
            return False
        return path.width == width_at(path.level or 0, path.number, self._size)


def bundles(directory: Path, first: int, problem: Tell) -> Iterator[tuple[int, bytes]]:
    """The entries of the bundles from index `first` on, up to the first bundle that is not there or not whole."""
    while True:
        path = _widest(directory, None, first // TILE)
        if path is None:
            return
        data = _bytes_of(directory / path.to_text(), MAX_BUNDLE)
        try:
            bodies = unbundle(data or b"")
        except ValueError:
            problem(path.to_text(), Code.UNREADABLE_ENTRY)
            return
        yield from enumerate(bodies, start=first)
        if len(bodies) < TILE:
            return
        first += TILE


def _widest(directory: Path, level: int | None, number: int) -> TilePath | None:
    """The tile or bundle of that number that is there: the whole one, or the widest partial one."""
    if not (directory / TilePath(level, number).to_text()).parent.is_dir():
        return None
    paths = (TilePath(level, number, width) for width in range(TILE, 0, -1))
    return next((path for path in paths if (directory / path.to_text()).is_file()), None)


def _bytes_of(path: Path, limit: int) -> bytes | None:
    """At most one byte more than the limit; None where there is no such file."""
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError:
        return None


def _names(directory: Path, below: str) -> Iterator[str]:
    """Every file below a folder, by its path from the directory; a folder deeper than any tile is told as one."""
    with os.scandir(directory / below) as found:
        for each in found:
            name = f"{below}/{each.name}"
            if each.is_dir(follow_symlinks=False) and name.count("/") < _DEEPEST:
                yield from _names(directory, name)
            else:
                yield name
