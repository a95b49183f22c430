"""The files of an export, one after another, in pieces: for a directory, or for a stream to somebody else.

Everything below the signed size is final, so each page is read in a transaction of its own and memory stays flat,
however slow the reader is. Evidence bodies are not exported. It checks nothing: whoever has the files does.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from tempfile import SpooledTemporaryFile
from typing import NamedTuple

from sqlalchemy import func, select

from watchkeeper.core.errors import LedgerError, NotFoundError
from watchkeeper.ledger.cosigning import cosigned, cosignedfile
from watchkeeper.ledger.exports.layout import CHECKPOINT, CHECKPOINTS, COSIGNED, ENTRIES, START, VKEY
from watchkeeper.ledger.reader import LogReader
from watchkeeper.ledger.signing.checkpoint import Checkpoint
from watchkeeper.ledger.signing.note import Note, b64, b64_strict
from watchkeeper.ledger.tables import ledger_checkpoint, ledger_entry, ledger_staged
from watchkeeper.ledger.tree.merkle import TILE, Tree, nodes_of
from watchkeeper.ledger.tree.served import kept_rows, minimum_index
from watchkeeper.ledger.tree.tilepath import TilePath
from watchkeeper.ledger.tree.tiles import node_hashes
from watchkeeper.ledger.tree.tiling import Tiling, bundle

PAGE = 4 * TILE
MAX_ASIDE = 1 << 20


class Format(StrEnum):
    """`jsonl`: a line for each entry. `tiles`: what any static file server serves as C2SP tlog-tiles."""

    JSONL = "jsonl"
    TILES = "tiles"
    BOTH = "both"


@dataclass(frozen=True)
class Member:
    """One file. Its pieces have `size` bytes together, and are to be read before the next member."""

    name: str
    size: int
    pieces: AsyncIterator[bytes]


class _Extent(NamedTuple):
    """What is exported: entries from `first` to the signed `size`, and the hashes of all."""

    first: int
    size: int


async def members(
    log: LogReader, vkey: str, form: Format, beside: Iterable[tuple[str, bytes]] = ()
) -> AsyncIterator[Member]:
    """Every file, the newest checkpoint first and the key last; `beside` are the files of other rooms, whole. Raises
    NotFoundError before anything is signed."""
    newest = await log.cosigned()
    if newest is None:
        raise NotFoundError(
            "there is nothing to export", cause="no entry is signed yet", next_step="watchkeeper ledger tail"
        )
    extent = await _extent(log, Checkpoint.from_text(Note.from_text(newest).text).size, form)
    yield _whole(CHECKPOINT, newest)
    if extent.first:
        yield _whole(START, await _start(log, extent.first))
    yield await _checkpoints(log, extent)
    yield await _cosigned(log, extent)
    if form is not Format.TILES:
        yield await _entries(log, extent)
    if form is not Format.JSONL:
        async for member in _tiles(log, extent):
            yield member
    for name, content in beside:
        yield _bytes(name, content)
    yield _whole(VKEY, vkey + "\n")


async def _extent(log: LogReader, size: int, form: Format) -> _Extent:
    """From the minimum index on. Bundles hold 256 entries or none: with tiles alone it is the next full bundle."""
    async with log.transaction() as tx:
        first = min(await minimum_index(tx), size)
    return _Extent(min(first + -first % TILE, size) if form is Format.TILES else first, size)


async def _start(log: LogReader, first: int) -> str:
    nodes = nodes_of((0, first))
    async with log.transaction() as tx:
        hashes = await node_hashes(tx, nodes)
    return start_text(Tree(first, [hashes[node] for node in nodes]))


def start_text(tree: Tree) -> str:
    """The tree of the entries that are not exported: its size and the roots of its perfect subtrees."""
    return "".join(f"{line}\n" for line in (tree.size, *map(b64, tree.peaks)))


def start_tree(text: str) -> Tree:
    """Reads `start_text`. Raises ValueError."""
    size, *peaks = text.removesuffix("\n").split("\n")
    tree = Tree.load(int(size), b"".join(map(b64_strict, peaks)))
    if start_text(tree) != text:
        raise ValueError("not the one spelling of a tree")
    return tree


async def _checkpoints(log: LogReader, extent: _Extent) -> Member:
    size = 0
    async for piece in _checkpoint_lines(log, extent):
        size += len(piece)
    return Member(CHECKPOINTS, size, _checkpoint_lines(log, extent))


async def _checkpoint_lines(log: LogReader, extent: _Extent) -> AsyncIterator[bytes]:
    above = extent.first - 1
    while True:
        query = select(ledger_checkpoint.c.size, ledger_checkpoint.c.body).where(
            ledger_checkpoint.c.size > above, ledger_checkpoint.c.size <= extent.size
        )
        async with log.transaction() as tx:
            rows = (await tx.execute(query.order_by(ledger_checkpoint.c.size).limit(PAGE))).all()
        if not rows:
            return
        yield b"".join(json.dumps(row.body, ensure_ascii=False).encode() + b"\n" for row in rows)
        above = rows[-1].size


async def _cosigned(log: LogReader, extent: _Extent) -> Member:
    """Set aside first: witnesses may add to it while it is read, and its size must be known."""
    aside = SpooledTemporaryFile(max_size=MAX_ASIDE)  # noqa: SIM115  # closed by whoever reads it to the end
    async with log.transaction() as tx:
        async for page in cosigned.pages(tx, first=extent.first, end=extent.size):
            aside.write(cosignedfile.encode(page))
    return Member(COSIGNED, aside.tell(), _from_aside(aside))


async def _from_aside(aside: SpooledTemporaryFile[bytes]) -> AsyncIterator[bytes]:
    with aside:
        aside.seek(0)
        while piece := aside.read(MAX_ASIDE):
            yield piece


async def _entries(log: LogReader, extent: _Extent) -> Member:
    joined = ledger_entry.join(ledger_staged, ledger_staged.c.id == ledger_entry.c.staged_id)
    query = select(func.count(), func.sum(func.length(ledger_staged.c.body))).select_from(joined)
    query = query.where(ledger_entry.c.idx >= extent.first, ledger_entry.c.idx < extent.size)
    async with log.transaction() as tx:
        count, size = (await tx.execute(query)).one()
    return Member(ENTRIES, count + (size or 0), _entry_lines(log, extent))


async def _entry_lines(log: LogReader, extent: _Extent) -> AsyncIterator[bytes]:
    for first, end in _stretches(extent.first, extent.size, PAGE):
        async with log.transaction() as tx:
            rows = await kept_rows(tx, first, end)
        yield b"".join(_there(row.body, first) + b"\n" for row in rows)


async def _tiles(log: LogReader, extent: _Extent) -> AsyncIterator[Member]:
    tiling = Tiling()
    for first, end in _stretches(0, extent.size, TILE):
        async with log.transaction() as tx:
            rows = await kept_rows(tx, first, end)
        if first >= extent.first:
            path = TilePath(None, first // TILE, len(rows))
            yield _bytes(path.to_text(), bundle(_there(row.body, first) for row in rows))
        for path, data in [each for row in rows for each in tiling.append(row.leaf)]:
            yield _bytes(path.to_text(), data)
    for path, data in tiling.rest():
        yield _bytes(path.to_text(), data)


def _stretches(first: int, size: int, step: int) -> Iterator[tuple[int, int]]:
    """Pages, whose edges are multiples of the step."""
    while first < size:
        end = min(first - first % step + step, size)
        yield first, end
        first = end


def _there(body: bytes | None, first: int) -> bytes:
    if body is None:
        raise LedgerError(
            f"entries from {first} on were pruned while they were exported", next_step="watchkeeper ledger export"
        )
    return body


def _whole(name: str, text: str) -> Member:
    return _bytes(name, text.encode())


def _bytes(name: str, data: bytes) -> Member:
    return Member(name, len(data), _once([data]))


async def _once(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
