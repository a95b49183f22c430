"""The RFC 6962 Merkle tree, pure: hashes, the growing tree as its peaks, and proofs.

A tree of n leaves is kept as the roots of its perfect subtrees from left to right ("peaks", one for each bit of n).
Proofs are planned as perfect nodes `(level, index)` and built by whoever can name a node's hash. Nothing here knows
where hashes are kept, nor whether a leaf is what it claims to be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
TILE = 256
TILE_LEVELS = 8

Node = tuple[int, int]
"""`(level, index)` of a perfect subtree: it covers leaves index << level up to (index + 1) << level."""

Span = tuple[int, int]
"""Leaves from the first up to, not including, the second."""


def leaf_hash(body: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + body).digest()


def leaf_hashes(bodies: Iterable[bytes]) -> list[bytes]:
    sha256 = hashlib.sha256
    return [sha256(b"\x00" + body).digest() for body in bodies]


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tile(NamedTuple):
    """A full tile: tile (0, n) covers 256 leaves, tile (l, n) 256 tiles of the level below."""

    level: int
    number: int
    root: bytes


@dataclass
class Tree:
    """A tree that only grows."""

    size: int = 0
    peaks: list[bytes] = field(default_factory=list)

    @classmethod
    def load(cls, size: int, packed: bytes) -> Tree:
        """From `packed()`. Raises ValueError when the peaks do not fit the size."""
        peaks = [packed[at : at + HASH_BYTES] for at in range(0, len(packed), HASH_BYTES)]
        if size < 0 or len(packed) != HASH_BYTES * size.bit_count():
            raise ValueError("the peaks do not fit the size")
        return cls(size, peaks)

    def packed(self) -> bytes:
        return b"".join(self.peaks)

    def append(self, leaf: bytes, full: list[Tile] | None = None) -> None:
        """Adds a leaf hash; the tiles that it completes are added to `full`."""
        self._add(leaf, 0, full)

    def _add(self, root: bytes, level: int, full: list[Tile] | None) -> None:
        """Adds a perfect subtree of 2^level leaves at a place where such a one may stand."""
        left, peaks, found = self.size >> level, self.peaks, root
        self.size += 1 << level
        if level and full is not None:
            full.append(Tile(level // TILE_LEVELS - 1, (self.size >> level) - 1, found))
        while left & 1:
            found = hashlib.sha256(b"\x01" + peaks.pop() + found).digest()
            left >>= 1
            level += 1
            if full is not None and level % TILE_LEVELS == 0:
                full.append(Tile(level // TILE_LEVELS - 1, (self.size >> level) - 1, found))
        peaks.append(found)

    def extend(self, leaves: Iterable[bytes]) -> list[Tile]:
        """Adds leaf hashes, whole tiles at a time where they fit; returns the tiles that they complete."""
        full: list[Tile] = []
        given, at = list(leaves), 0
        while at < len(given):
            if self.size % TILE == 0 and len(given) - at >= TILE:
                self._add(perfect_root(given[at : at + TILE]), TILE_LEVELS, full)
                at += TILE
            else:
                self._add(given[at], 0, full)
                at += 1
        return full

    def root(self) -> bytes:
        return fold(self.peaks)


def fold(peaks: Sequence[bytes]) -> bytes:
    """The root over peaks from left to right."""
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """The root over 2^k hashes of one level."""
    sha256 = hashlib.sha256
    while len(hashes) > 1:
        hashes = [
            sha256(b"\x01" + left + right).digest() for left, right in zip(hashes[::2], hashes[1::2], strict=True)
        ]
    return hashes[0]


def nodes_of(span: Span) -> tuple[Node, ...]:
    """The perfect nodes that cover a span, from left to right; the span starts where a subtree of its size may."""
    start, end = span
    found: list[Node] = []
    while start < end:
        level = (end - start).bit_length() - 1
        found.append((level, start >> level))
        start += 1 << level
    return tuple(found)


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_spans(index: int, size: int) -> tuple[Span, ...]:
    """The spans whose roots prove leaf `index` in a tree of `size`, from the leaf upwards."""
    if not 0 <= index < size:
        raise ValueError("the index lies outside the tree")
    spans: list[Span] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            spans.append((middle, high))
            high = middle
        else:
            spans.append((low, middle))
            low = middle
    return tuple(reversed(spans))


def consistency_spans(old: int, new: int) -> tuple[Span, ...]:
    """The spans whose roots prove that a tree of `new` extends one of `old`."""
    if not 0 < old <= new:
        raise ValueError("a consistency proof needs 0 < old <= new")
    spans: list[Span] = []
    low, high = 0, new
    while old != high:
        middle = low + _split(high - low)
        if old <= middle:
            spans.append((middle, high))
            high = middle
        else:
            spans.append((low, middle))
            low = middle
    if low > 0:
        spans.append((low, high))
    return tuple(reversed(spans))


def build_proof(spans: Iterable[Span], hash_of: Callable[[Node], bytes]) -> tuple[bytes, ...]:
    return tuple(fold([hash_of(node) for node in nodes_of(span)]) for span in spans)


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """RFC 9162, 2.1.3.2."""
    if not 0 <= index < size:
        return False
    at, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """RFC 9162, 2.1.4.2; an empty old tree is consistent with every tree."""
    if not 0 <= old <= new:
        return False
    if old in (0, new):
        return not proof and (old_root == EMPTY_ROOT if old == 0 else old_root == new_root)
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root
