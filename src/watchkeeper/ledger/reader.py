"""Reads the sequenced log: entries, checkpoints, proofs. It believes the database; verify does not.

Entries that were appended but have no index yet are not seen here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from datetime import datetime

from pydantic import Field, ValidationError
from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.entries import EntryType, Envelope, EvidenceErased
from watchkeeper.core.errors import NotFoundError, VerificationError
from watchkeeper.core.model import Contract
from watchkeeper.ledger.cosigning import cosigned
from watchkeeper.ledger.cosigning.quorum import Policy
from watchkeeper.ledger.signing.note import VerifierKey, b64
from watchkeeper.ledger.snapshot import Snapshot, snapshot
from watchkeeper.ledger.tables import ledger_entry, ledger_head, ledger_pending, ledger_staged
from watchkeeper.ledger.tree.merkle import Span, build_proof, consistency_spans, inclusion_spans, nodes_of
from watchkeeper.ledger.tree.tiles import node_hashes
from watchkeeper.store.engine import Store

MAX_READ = 5000
"""The most entries that one call returns; `iterate` has no such limit, since it reads in pages."""
PAGE = 500


class Entry(Contract):
    """A sequenced entry. `envelope.to_bytes()` are the bytes whose leaf hash (hex) is `leaf`."""

    index: int = Field(ge=0)
    leaf: str
    envelope: Envelope


class InclusionProof(Contract):
    """That leaf `index` is in the tree of `size` with `root`. Hashes are base64, from the leaf upwards."""

    index: int
    size: int
    leaf: str
    hashes: tuple[str, ...]
    root: str


class ConsistencyProof(Contract):
    """That the tree of `new_size` extends the tree of `old_size`. Hashes are base64."""

    old_size: int
    new_size: int
    hashes: tuple[str, ...]


class LogReader:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def size(self) -> int:
        async with self._store.read() as tx:
            return await _size(tx)

    async def pending(self) -> int:
        """How many appended entries wait for their index."""
        async with self._store.read() as tx:
            count: int = (await tx.execute(select(func.count()).select_from(ledger_pending))).scalar_one()
        return count

    async def checkpoint(self) -> str | None:
        """The newest signed checkpoint; None before the first entry."""
        async with self._store.read() as tx:
            return await Snapshot(tx).newest_checkpoint()

    async def cosigned(self, policy: Policy | None = None, known: Iterable[VerifierKey] = ()) -> str | None:
        """The newest checkpoint with the cosignatures it has; with a policy, the newest that the policy calls valid.
        `known` are the log's keys where the policy names no log."""
        async with self._store.read() as tx:
            if policy is None:
                return await cosigned.newest_checkpoint(tx)
            return await cosigned.newest_valid(tx, policy, known)

    async def entries(self, first: int, end: int) -> list[Entry]:
        """Entries with first <= index < end, at most MAX_READ of them."""
        query = _ENTRIES.where(ledger_entry.c.idx >= first, ledger_entry.c.idx < end)
        return await self._read(query.order_by(ledger_entry.c.idx).limit(MAX_READ))

    async def tail(self, count: int) -> list[Entry]:
        """The newest entries, oldest first."""
        found = await self._read(_ENTRIES.order_by(ledger_entry.c.idx.desc()).limit(min(count, MAX_READ)))
        return found[::-1]

    async def by_id(self, entry_id: str) -> Entry | None:
        found = await self._read(_ENTRIES.where(ledger_staged.c.entry_id == entry_id))
        return found[0] if found else None

    async def erased(self) -> frozenset[str]:
        """The commitments of all bodies that a person had erased, as the newest `MAX_READ` entries about it say."""
        query = (
            select(ledger_staged.c.body)
            .where(ledger_staged.c.type == EntryType.EVIDENCE_ERASED)
            .order_by(ledger_staged.c.id.desc())
            .limit(MAX_READ)
        )
        async with self._store.read() as tx:
            bodies = (await tx.execute(query)).scalars().all()
        told = (Envelope.model_validate_json(body).typed() for body in bodies)
        return frozenset(ref.commitment for data in told if isinstance(data, EvidenceErased) for ref in data.erased)

    async def by_subject(self, subject: str) -> list[Entry]:
        """The first MAX_READ entries about an incident or a scope, in order."""
        return await self.find(subject=subject, limit=MAX_READ)

    async def find(
        self,
        *,
        subject: str | None = None,
        types: tuple[EntryType, ...] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        after: int = -1,
        limit: int = PAGE,
    ) -> list[Entry]:
        """Entries with an index above `after` that fit every given filter; since <= time < until."""
        query = _ENTRIES.where(ledger_entry.c.idx > after)
        if subject is not None:
            query = query.where(ledger_staged.c.subject == subject)
        if types:
            query = query.where(ledger_staged.c.type.in_(types))
        if since is not None:
            query = query.where(ledger_staged.c.time >= since)
        if until is not None:
            query = query.where(ledger_staged.c.time < until)
        return await self._read(query.order_by(ledger_entry.c.idx).limit(min(limit, MAX_READ)))

    async def iterate(
        self,
        *,
        subject: str | None = None,
        types: tuple[EntryType, ...] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        after: int = -1,
    ) -> AsyncIterator[Entry]:
        """All that `find` finds, in pages: memory stays flat, and no transaction is open between pages."""
        while True:
            page = await self.find(subject=subject, types=types, since=since, until=until, after=after, limit=PAGE)
            for entry in page:
                yield entry
            if len(page) < PAGE:
                return
            after = page[-1].index

    async def inclusion(self, index: int, size: int | None = None) -> InclusionProof:
        """Proves an entry in the tree of `size` (now, if not given). Raises NotFoundError outside the log."""
        async with self._store.read() as tx:
            size = await _within(tx, size)
            if not 0 <= index < size:
                raise _outside(f"entry {index}", size)
            spans = (*inclusion_spans(index, size), (index, index + 1), (0, size))
            *hashes, leaf, root = await _proof(tx, spans)
        return InclusionProof(index=index, size=size, leaf=leaf.hex(), hashes=tuple(map(b64, hashes)), root=b64(root))

    async def consistency(self, old: int, new: int | None = None) -> ConsistencyProof:
        """Proves that the tree of `new` (now, if not given) extends the tree of `old`."""
        async with self._store.read() as tx:
            new = await _within(tx, new)
            if not 0 <= old <= new:
                raise _outside(f"a tree of {old} entries", new)
            hashes = await _proof(tx, consistency_spans(old, new)) if old else ()
        return ConsistencyProof(old_size=old, new_size=new, hashes=tuple(map(b64, hashes)))

    def transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A short read, for those who name rows themselves."""
        return self._store.read()

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        """Raw rows under one consistent view, for verify and export."""
        return snapshot(self._store)

    async def _read(self, query: Select[int, bytes, bytes]) -> list[Entry]:
        async with self._store.read() as tx:
            return [parse_entry(row[0], row[1], row[2].hex()) for row in await tx.execute(query)]


_ENTRIES = select(ledger_entry.c.idx, ledger_staged.c.body, ledger_entry.c.leaf).join(
    ledger_staged, ledger_staged.c.id == ledger_entry.c.staged_id
)


def parse_entry(index: int, body: bytes, leaf: str) -> Entry:
    """Raises VerificationError for bytes that are not an entry."""
    try:
        return Entry(index=index, leaf=leaf, envelope=Envelope.model_validate_json(body))
    except ValidationError as error:
        raise VerificationError(
            "the entry cannot be read",
            cause="its row was changed in the database, or a newer version with another envelope wrote it",
            next_step="watchkeeper ledger verify",
            place=f"entry {index}",
        ) from error


async def _size(tx: AsyncConnection) -> int:
    size: int | None = (await tx.execute(select(ledger_head.c.size))).scalar_one_or_none()
    return size or 0


async def _within(tx: AsyncConnection, size: int | None) -> int:
    now = await _size(tx)
    if size is not None and size > now:
        raise _outside(f"a tree of {size} entries", now)
    return now if size is None else size


def _outside(what: str, size: int) -> NotFoundError:
    return NotFoundError(
        f"{what} is not in this log",
        cause=f"the log has {size} entries",
        next_step="watchkeeper ledger tail",
    )


async def _proof(tx: AsyncConnection, spans: tuple[Span, ...]) -> tuple[bytes, ...]:
    hashes = await node_hashes(tx, {node for span in spans for node in nodes_of(span)})
    return build_proof(spans, hashes.__getitem__)
