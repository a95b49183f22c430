"""Raw rows of the ledger under one database snapshot, in pages, for verify, fsck and export.

Rows come as they are: no model reads them, and nothing is held against anything here. But SQLite keeps a value of any
type in any column: one that is not of its column's type is read as empty, or as -1, which no honest value is, so that
it is found where it differs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, String, bindparam, func, or_, select, text, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.entries import EntryType
from watchkeeper.ledger.cosigning import cosigned
from watchkeeper.ledger.cosigning.cosigned import Cosigned
from watchkeeper.ledger.signing.keychain import MAX_ROTATIONS, Rotation, rotation_in
from watchkeeper.ledger.tables import (
    evidence,
    ledger_checkpoint,
    ledger_entry,
    ledger_head,
    ledger_pending,
    ledger_pruned,
    ledger_staged,
    ledger_tile,
    ledger_writer,
)
from watchkeeper.ledger.tree.merkle import TILE
from watchkeeper.store.engine import Store
from watchkeeper.store.metadata import BigId
from watchkeeper.store.raw import RawQuery, lenient

PAGE = 4 * TILE


Copies = tuple[str, str, int, str, str, str]
"""What the staged row says beside the entry's bytes: id, writer, seq, type, subject, and time as text."""


class Rows(NamedTuple):
    """Column by column, since a log has millions of them. A body is None when its staged row is gone; an export has
    neither stored leaves nor copies."""

    indices: Sequence[int]
    bodies: Sequence[bytes | None]
    leaves: Sequence[bytes] | None = None
    copies: Sequence[Copies] | None = None


@dataclass(frozen=True)
class Page:
    """Rows in order of index, and the checkpoints whose size is in (first index, last index + 1]."""

    rows: Rows
    checkpoints: Sequence[tuple[int, str]]
    tiles: dict[tuple[int, int], bytes] | None = None
    """Stored roots of the tiles that end in this page; None where there are none to check (an export)."""


@dataclass(frozen=True)
class Accounts:
    """Ids of staged rows that are not in exactly one place. Each list holds at most a hundred."""

    lost: Sequence[int] = field(default=())
    """Staged, neither indexed nor pending."""
    doubled: Sequence[int] = field(default=())
    """Indexed and pending."""
    dangling: Sequence[int] = field(default=())
    """Pending, not staged."""


class EvidenceRow(NamedTuple):
    commitment: str
    salt: bytes
    body: bytes
    """Compressed."""
    kind: str
    media_type: str
    size: int


class Head(NamedTuple):
    size: int
    peaks: bytes


_COPIES = (
    ledger_staged.c.entry_id,
    ledger_staged.c.writer,
    ledger_staged.c.seq,
    ledger_staged.c.type,
    ledger_staged.c.subject,
    type_coerce(ledger_staged.c.time, String).label("time"),
)
_FIRST, _STOP = bindparam("first", type_=BigId), bindparam("stop", type_=BigId)


def _entries(*more: ColumnElement[str]) -> RawQuery:
    joined = ledger_entry.outerjoin(ledger_staged, ledger_staged.c.id == ledger_entry.c.staged_id)
    query = select(ledger_entry.c.idx, ledger_staged.c.body, ledger_entry.c.leaf, *more).select_from(joined)
    return RawQuery(query.where(ledger_entry.c.idx >= _FIRST, ledger_entry.c.idx < _STOP).order_by(ledger_entry.c.idx))


_BODIES_ONLY, _WITH_COPIES = _entries(), _entries(*_COPIES)
_CHECKPOINTS = RawQuery(
    select(ledger_checkpoint.c.size, ledger_checkpoint.c.body)
    .where(ledger_checkpoint.c.size > _FIRST, ledger_checkpoint.c.size <= _STOP)
    .order_by(ledger_checkpoint.c.size)
)


@cache
def _tiles_query(levels: int) -> RawQuery:
    """Tiles of each level from `at0` up to `at1`, `at2` up to `at3`, and so on."""
    idx = ledger_tile.c.idx
    ranges = (
        (ledger_tile.c.level == level)
        & (idx >= bindparam(f"at{2 * level}", type_=BigId))
        & (idx < bindparam(f"at{2 * level + 1}", type_=BigId))
        for level in range(levels)
    )
    return RawQuery(select(ledger_tile.c.level, idx, ledger_tile.c.root).where(or_(*ranges)))


_FEW = 100
READER_IDLE_MS = 600_000
"""How long the server may keep a snapshot open for a reader that is frozen (PostgreSQL)."""
_BODIES = 32


async def rotations(tx: AsyncConnection) -> list[Rotation]:
    """Every rotation that has its index, in order."""
    query = select(ledger_entry.c.idx, ledger_staged.c.body).join(
        ledger_staged, ledger_staged.c.id == ledger_entry.c.staged_id
    )
    query = query.where(ledger_staged.c.type == EntryType.KEY_ROTATED.value).order_by(ledger_entry.c.idx)
    rows = await tx.execute(query.limit(MAX_ROTATIONS))
    found = (rotation_in(row.idx, _bytes(row.body)) for row in rows)
    return [each for each in found if each is not None]


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if isinstance(value, int) else -1


def _column(values: Sequence[Any], *others: None) -> Sequence[Any]:
    """Bytes, or None where None may stand. One look at the types of all: a log has millions of values."""
    if {*map(type, values)} <= {bytes, *map(type, others)}:
        return values
    return [value if value in others else _bytes(value) for value in values]


class Snapshot:
    def __init__(self, tx: AsyncConnection) -> None:
        self._tx = tx
        self.apart = tx.dialect.name != "sqlite"
        """Whether another process does the reading, so that it can go on while this one works."""

    async def head(self) -> Head:
        row = (await self._tx.execute(select(ledger_head.c.size, ledger_head.c.peaks))).one_or_none()
        return Head(0, b"") if row is None else Head(_number(row.size), _bytes(row.peaks))

    async def newest_checkpoint(self) -> str | None:
        query = select(ledger_checkpoint.c.body).order_by(ledger_checkpoint.c.size.desc()).limit(1)
        body: str | None = (await self._tx.execute(query)).scalar_one_or_none()
        return body

    async def rotations(self) -> list[Rotation]:
        """Where the log was handed over to another key, in order."""
        return await rotations(self._tx)

    async def pruned(self) -> int:
        """Below this index the bytes of entries may be gone."""
        found: int | None = (await self._tx.execute(select(func.max(ledger_pruned.c.end)))).scalar_one()
        return found or 0

    async def pages(self, end: int | None = None, *, copies: bool = False) -> AsyncIterator[Page]:
        """Every index that is stored, below `end`, in order; with the copies to search by only where they are asked."""
        query, first = _WITH_COPIES if copies else _BODIES_ONLY, 0
        while end is None or first < end:
            stop = first + PAGE if end is None else min(first + PAGE, end)
            found = await query.fetch(self._tx, first=first, stop=stop)
            if not found:
                following = await self._next_index(stop)
                if following is None or (end is not None and following >= end):
                    return
                first = following - following % PAGE
                continue
            indices, bodies, leaves, *rest = zip(*found, strict=True)
            beside = tuple(zip(*rest, strict=True)) if copies else None
            rows = Rows(indices, _column(bodies, None), _column(leaves), beside)
            yield Page(rows, await self._checkpoints(first, stop), await self._tiles(first, stop))
            first = stop

    async def _next_index(self, above: int) -> int | None:
        query = select(func.min(ledger_entry.c.idx)).where(ledger_entry.c.idx >= above)
        found: int | None = (await self._tx.execute(query)).scalar_one()
        return found

    async def _checkpoints(self, first: int, stop: int) -> list[tuple[int, str]]:
        return [(row[0], _text(row[1])) for row in await _CHECKPOINTS.fetch(self._tx, first=first, stop=stop)]

    async def _tiles(self, first: int, stop: int) -> dict[tuple[int, int], bytes]:
        bounds, span = list[int](), TILE
        while stop // span:
            bounds += (first // span, stop // span)
            span *= TILE
        if not bounds:
            return {}
        query = _tiles_query(len(bounds) // 2)
        found = await query.fetch(self._tx, **{f"at{place}": bound for place, bound in enumerate(bounds)})
        return {(row[0], row[1]): row[2] for row in found}

    async def count(self) -> int:
        """About how many entries `pages` will give: what the head says."""
        return (await self.head()).size

    async def pending(self) -> int:
        found: int = (await self._tx.execute(select(func.count()).select_from(ledger_pending))).scalar_one()
        return found

    async def signing_times(self) -> AsyncIterator[Sequence[tuple[int, str]]]:
        """The size of each checkpoint and when it was signed, as text, in order of size."""
        above = -1
        time = type_coerce(ledger_checkpoint.c.signed_at, String)
        while True:
            query = select(ledger_checkpoint.c.size, time).where(ledger_checkpoint.c.size > above)
            found = (await self._tx.execute(query.order_by(ledger_checkpoint.c.size).limit(PAGE))).all()
            if not found:
                return
            yield [(row[0], _text(row[1])) for row in found]
            above = found[-1][0]

    async def last_time(self) -> str | None:
        time = type_coerce(ledger_head.c.last_time, String)
        found: str | None = (await self._tx.execute(select(time))).scalar_one_or_none()
        return found

    async def evidence(self) -> AsyncIterator[Sequence[EvidenceRow]]:
        """Every row, in order of commitment; few at a time, since a body may have a mebibyte."""
        above = ""
        columns = (evidence.c.commitment, evidence.c.salt, evidence.c.body, evidence.c.kind, evidence.c.media_type)
        while True:
            query = select(*columns, evidence.c.size).where(evidence.c.commitment > above)
            found = (await self._tx.execute(query.order_by(evidence.c.commitment).limit(_BODIES))).all()
            if not found:
                return
            yield [
                EvidenceRow(_text(name), _bytes(salt), _bytes(body), _text(kind), _text(media_type), _number(size))
                for name, salt, body, kind, media_type, size in found
            ]
            above = found[-1][0]

    async def checkpoints_above(self, size: int) -> list[int]:
        """Sizes of checkpoints for more entries than there are; at most a hundred."""
        query = select(ledger_checkpoint.c.size).where(
            (ledger_checkpoint.c.size > size) | (ledger_checkpoint.c.size < 1)
        )
        return list((await self._tx.execute(query.order_by(ledger_checkpoint.c.size).limit(_FEW))).scalars())

    def cosigned(self, end: int | None = None) -> AsyncIterator[Sequence[Cosigned]]:
        """Checkpoints with what witnesses signed of them, oldest first, up to the size `end`."""
        return cosigned.pages(self._tx, end=end)

    async def waiting(self) -> AsyncIterator[Sequence[tuple[int, bytes, Copies]]]:
        """Staged rows that are pending, in order of id."""
        above = -1
        while True:
            query = (
                select(ledger_staged.c.id, ledger_staged.c.body, *_COPIES)
                .join(ledger_pending, ledger_pending.c.id == ledger_staged.c.id)
                .where(ledger_staged.c.id > above)
            )
            found = (await self._tx.execute(query.order_by(ledger_staged.c.id).limit(PAGE))).all()
            if not found:
                return
            yield [(row[0], _bytes(row[1]), tuple(row[2:])) for row in found]
            above = found[-1][0]

    async def writers(self) -> dict[str, tuple[int, bytes]]:
        rows = await self._tx.execute(select(ledger_writer))
        return {_text(row.writer): (_number(row.seq), _bytes(row.prev_hash)) for row in rows}

    async def accounts(self) -> Accounts:
        staged, entry, pending = ledger_staged.c.id, ledger_entry.c.staged_id, ledger_pending.c.id
        everywhere = ledger_staged.outerjoin(ledger_entry, entry == staged).outerjoin(ledger_pending, pending == staged)
        lost = select(staged).select_from(everywhere).where(entry.is_(None), pending.is_(None))
        doubled = select(pending).join(ledger_entry, entry == pending)
        orphans = ledger_pending.outerjoin(ledger_staged, staged == pending)
        dangling = select(pending).select_from(orphans).where(staged.is_(None))
        few = [list((await self._tx.execute(query.limit(_FEW))).scalars()) for query in (lost, doubled, dangling)]
        return Accounts(*few)


@asynccontextmanager
async def snapshot(store: Store) -> AsyncIterator[Snapshot]:
    """One consistent view for as long as it is open, whatever is written meanwhile."""
    async with store.read() as tx:
        if store.is_sqlite:
            async with lenient(tx):
                yield Snapshot(tx)
        else:
            await tx.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            # while helpers work it idles longer than a write may; a reader holds up no stop
            await tx.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = {READER_IDLE_MS}"))
            yield Snapshot(tx)
