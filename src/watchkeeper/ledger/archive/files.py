"""The files of a segment, derived from its entries: C2SP tlog-tiles' entry bundles and tiles, the checkpoint, its key.

Pure. Who archives derives them from the database, who checks from the bundles themselves, and both must come to the
same bytes. What does not follow from the entries is the checkpoint alone; whether its root is theirs, is asked of
`SegmentFiles.root`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from watchkeeper.core.digest import sha256
from watchkeeper.core.entries import MAX_ENTRY_BYTES
from watchkeeper.ledger.archive.manifest import ArchivedObject, Manifest
from watchkeeper.ledger.signing.note import VerifierKey, b64
from watchkeeper.ledger.tree.merkle import HASH_BYTES, TILE, Tile, Tree, leaf_hash

OCTETS, TEXT, JSON = "application/octet-stream", "text/plain; charset=utf-8", "application/json"


class File(NamedTuple):
    name: str
    body: bytes
    media_type: str


def tile_name(level: int | str, number: int, width: int = TILE) -> str:
    """`tile/0/x001/234`, `tile/entries/000`, `tile/1/000.p/17`."""
    parts = [f"{number % 1000:03}"]
    while number := number // 1000:
        parts.insert(0, f"x{number % 1000:03}")
    partial = "" if width == TILE else f".p/{width}"
    return f"tile/{level}/{'/'.join(parts)}{partial}"


def bundle(bodies: Sequence[bytes]) -> bytes:
    """Each entry behind its length, 16 bits, big-endian."""
    return b"".join(len(body).to_bytes(2, "big") + body for body in bodies)


def unbundle(data: bytes) -> list[bytes]:
    """Raises ValueError for bytes that are not whole entries."""
    bodies: list[bytes] = []
    at = 0
    while at < len(data):
        start, size = at + 2, int.from_bytes(data[at : at + 2], "big")
        at = start + size
        bodies.append(data[start:at])
    if at != len(data) or any(len(body) > MAX_ENTRY_BYTES for body in bodies):
        raise ValueError("the bundle is cut")
    return bodies


@dataclass
class Frontier:
    """The tree up to a whole number of tiles, and the hashes of each upper tile that is not full yet."""

    tree: Tree = field(default_factory=Tree)
    rows: dict[int, list[bytes]] = field(default_factory=dict)

    def add(self, leaves: Sequence[bytes]) -> Iterator[File]:
        """256 more leaves; gives the tiles that they fill."""
        number, full = self.tree.size // TILE, list[Tile]()
        for leaf in leaves:
            self.tree.append(leaf, full)
        yield _tile(0, number, leaves)
        for tile in full:
            row = self.rows.setdefault(tile.level + 1, [])
            row.append(tile.root)
            if len(row) == TILE:
                yield _tile(tile.level + 1, tile.number // TILE, row)
                row.clear()

    def edge(self, leaves: Sequence[bytes]) -> Iterator[File]:
        """The tiles that are not full, with fewer than 256 leaves more. The tree stays where it is."""
        if leaves:
            yield _tile(0, self.tree.size // TILE, leaves)
        for level, row in sorted(self.rows.items()):
            if row:
                yield _tile(level, self.tree.size // TILE ** (level + 1), row)

    def root(self, leaves: Sequence[bytes]) -> bytes:
        """Of the tree with these leaves more."""
        grown = Tree(self.tree.size, list(self.tree.peaks))
        grown.extend(leaves)
        return grown.root()


def _tile(level: int, number: int, hashes: Sequence[bytes]) -> File:
    return File(tile_name(level, number, len(hashes)), b"".join(hashes), OCTETS)


def hashes_of(tile: bytes) -> list[bytes]:
    """The last is shorter where the tile is cut."""
    return [tile[at : at + HASH_BYTES] for at in range(0, len(tile), HASH_BYTES)]


@dataclass
class SegmentFiles:
    """Hands out a segment's files in order, and then its manifest."""

    frontier: Frontier
    first: int
    objects: list[ArchivedObject] = field(default_factory=list)

    def bundle(self, bodies: Sequence[bytes]) -> list[File]:
        """The files of the next 256 entries."""
        entries = File(tile_name("entries", self.frontier.tree.size // TILE), bundle(bodies), OCTETS)
        return self._listed(entries, *self.frontier.add([leaf_hash(body) for body in bodies]))

    def edge(self, leaves: Sequence[bytes], size: int, note: str, signer: VerifierKey) -> list[File]:
        """What closes the segment: tiles that are not full, the checkpoint of `size`, and the key that opens it."""
        checkpoint = File(f"checkpoints/{size}", note.encode(), TEXT)
        key = File(f"vkeys/{signer.key_id.hex()}", f"{signer.vkey}\n".encode(), TEXT)
        return self._listed(*self.frontier.edge(leaves), checkpoint, key)

    def manifest(self, origin: str, size: int, root: bytes, previous: str | None) -> Manifest:
        return Manifest(
            origin=origin,
            first=self.first,
            end=self.frontier.tree.size,
            size=size,
            root=b64(root),
            previous=previous,
            objects=tuple(self.objects),
        )

    def _listed(self, *files: File) -> list[File]:
        self.objects += (
            ArchivedObject(name=file.name, digest=sha256(file.body), size=len(file.body)) for file in files
        )
        return list(files)
