"""Deletes evidence that is older than its kind is kept for, in small transactions that each leave their entry.

Evidence that an entry of a held incident names stays; `held` says which those are (an open one, one with a remedy in
force). What is deleted is gone from the database's tables: copies in backups and in the databases' own logs, and space
that PostgreSQL has not used again, are not reached. Entries and their references stay, and verify holds as before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.clock import Clock
from watchkeeper.core.digest import sha256
from watchkeeper.core.entries import Draft, EntryType, EvidencePruned
from watchkeeper.core.evidence import EvidenceKind, EvidenceRef
from watchkeeper.core.model import Contract
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.evidence.store import destroy
from watchkeeper.ledger.retention.named import commitments_named
from watchkeeper.ledger.retention.periods import Due, RetentionSettings, due
from watchkeeper.ledger.retention.progress import Progress
from watchkeeper.ledger.tables import evidence
from watchkeeper.store.engine import Store

BATCH = 1000
BATCH_BYTES = 64 * 1_048_576
"""A transaction deletes no more than this, so that a stop is never held up for long."""

Held = Callable[[AsyncConnection], Awaitable[frozenset[str]]]
"""The incidents of which everything is kept."""


class PrunedKind(Contract):
    """`size` is in bytes before compression."""

    kind: EvidenceKind
    count: int
    size: int


class PruneReport(Contract):
    """`kept` counts what is old enough and stays for a held incident. `dry` says that nothing was deleted."""

    kinds: tuple[PrunedKind, ...]
    kept: int
    dry: bool


@dataclass
class _Tally:
    kinds: dict[EvidenceKind, tuple[int, int]] = field(default_factory=dict)
    kept: int = 0

    def add(self, kind: EvidenceKind, refs: Sequence[EvidenceRef]) -> None:
        count, size = self.kinds.get(kind, (0, 0))
        self.kinds[kind] = (count + len(refs), size + sum(ref.size for ref in refs))

    @property
    def passed(self) -> int:
        return self.kept + sum(count for count, _ in self.kinds.values())

    def report(self, dry: bool) -> PruneReport:
        found = (PrunedKind(kind=kind, count=n, size=size) for kind, (n, size) in sorted(self.kinds.items()) if n)
        return PruneReport(kinds=tuple(found), kept=self.kept, dry=dry)


class EvidencePruner:
    def __init__(self, store: Store, ledger: Ledger, clock: Clock, settings: RetentionSettings, held: Held) -> None:
        self._store, self._ledger, self._clock = store, ledger, clock
        self._settings, self._held = settings, held

    async def run(self, *, dry: bool = False) -> AsyncIterator[Progress | PruneReport]:
        """Deletes all that is due, kind by kind; the report comes last. Whoever stops listening stops it between two
        batches, and what was deleted until then is recorded."""
        dues = tuple(due(self._settings, self._clock.now()))
        total = sum([await self._count(each) for each in dues])
        wanted = await self._wanted() if total else frozenset[str]()
        tally = _Tally()
        for each in dues:
            async for page in self._pages(each):
                refs = [ref for ref in page if ref.commitment not in wanted]
                tally.kept += len(page) - len(refs)
                for batch in _batches(refs):
                    tally.add(each.kind, batch if dry else await self._delete(each, batch))
                    yield Progress(what="evidence", done=tally.passed, total=max(total, tally.passed))
        yield tally.report(dry)

    async def run_once(self) -> PruneReport:
        """The same for nobody who watches."""
        report = PruneReport(kinds=(), kept=0, dry=False)
        async for each in self.run():
            report = each if isinstance(each, PruneReport) else report
        return report

    async def _delete(self, each: Due, batch: Sequence[EvidenceRef]) -> list[EvidenceRef]:
        async with self._store.write() as tx:
            gone = await destroy(tx, [ref.commitment for ref in batch])
            if gone:
                draft = Draft(type=EntryType.EVIDENCE_PRUNED, subject="", data=_said(each, gone))
                await self._ledger.append(tx, draft)
        return gone

    async def _count(self, each: Due) -> int:
        async with self._store.read() as tx:
            found = await tx.execute(select(func.count()).select_from(evidence).where(_is_due(each)))
            return int(found.scalar_one())

    async def _wanted(self) -> frozenset[str]:
        async with self._store.read() as tx:
            incidents = await self._held(tx)
        return await commitments_named(self._store, incidents)

    async def _pages(self, each: Due) -> AsyncIterator[Sequence[EvidenceRef]]:
        """What is due of a kind, oldest first. What stays is passed once and not met again."""
        order = (evidence.c.created, evidence.c.commitment)
        query = select(evidence.c.size, evidence.c.media_type, *order).where(_is_due(each)).order_by(*order)
        after: ColumnElement[bool] | None = None
        while True:
            page = query if after is None else query.where(after)
            async with self._store.read() as tx:
                found = (await tx.execute(page.limit(BATCH))).all()
            if not found:
                return
            yield [
                EvidenceRef(kind=each.kind, commitment=row.commitment, size=row.size, media_type=row.media_type)
                for row in found
            ]
            last = found[-1]
            after = (evidence.c.created > last.created) | (
                (evidence.c.created == last.created) & (evidence.c.commitment > last.commitment)
            )


def _is_due(each: Due) -> ColumnElement[bool]:
    return (evidence.c.kind == each.kind) & (evidence.c.created < each.before)


def _batches(refs: Sequence[EvidenceRef]) -> Iterator[Sequence[EvidenceRef]]:
    start = size = 0
    for position, ref in enumerate(refs):
        if position > start and size + ref.size > BATCH_BYTES:
            yield refs[start:position]
            start, size = position, 0
        size += ref.size
    if start < len(refs):
        yield refs[start:]


def _said(each: Due, gone: Sequence[EvidenceRef]) -> EvidencePruned:
    named = "".join(f"{name}\n" for name in sorted(ref.commitment for ref in gone))
    return EvidencePruned(
        kind=each.kind,
        before=each.before,
        count=len(gone),
        size=sum(ref.size for ref in gone),
        digest=sha256(named.encode()),
    )
