"""Takes the bytes of old entries out of the database, once they are in the archive and were read back from there.

Their leaf hashes stay, so that every root, proof and checkpoint still verifies. It goes from the beginning of the log
without a gap, up to a mark that is written with its own entry before anything is deleted; after a crash the next run
deletes what is left below it. What is needed on for ever stays where it is: `KEPT`, and all of a held incident.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.clock import Clock
from watchkeeper.core.entries import Archived, Draft, EntriesPruned, EntryType
from watchkeeper.core.errors import ConfigError, ConflictError, VerificationError
from watchkeeper.core.model import Contract, Instant
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.archive import rows
from watchkeeper.ledger.archive.check import ArchiveCheck
from watchkeeper.ledger.archive.compare import held_against
from watchkeeper.ledger.archive.storage import Storage
from watchkeeper.ledger.retention.periods import RetentionSettings, length
from watchkeeper.ledger.retention.progress import Progress
from watchkeeper.ledger.retention.prune import Held
from watchkeeper.ledger.retention.turns import Turn
from watchkeeper.ledger.signing.note import VerifierKey
from watchkeeper.ledger.snapshot import rotations
from watchkeeper.ledger.tables import ledger_entry, ledger_head, ledger_pruned, ledger_staged
from watchkeeper.ledger.tree.merkle import TILE
from watchkeeper.store.engine import Store

KEPT = (
    EntryType.KEY_ROTATED,
    EntryType.ARCHIVED,
    EntryType.ENTRIES_PRUNED,
    EntryType.EVIDENCE_PRUNED,
    EntryType.EVIDENCE_ERASED,
    EntryType.POLICY_ACTIVATED,
    EntryType.STOP,
    EntryType.AGENT_STANDING,
    EntryType.ROLLOUT_ADVANCED,
    EntryType.ROLLOUT_SET_BACK,
    EntryType.ROLLOUT_JUDGED,
    EntryType.INCIDENT_OPENED,
    EntryType.INCIDENT_CLOSED,
)
"""What verify and whoever looks for the rest needs: the record's own history, policies, stops and people's word about
agents and services, which may be in force, and the frame of each incident, by which its story is found in the
archive."""
BATCH = 1000
LEASE = "ledger-prune"

_ENTRIES = ledger_entry.join(ledger_staged, ledger_staged.c.id == ledger_entry.c.staged_id)


class EntryPruneReport(Contract):
    """Entries with an index from `first` up to `end` were newly marked as pruned; `count` were deleted, and `kept` of
    those that are old enough stay. `dry`: nothing was done, and the archive was not read."""

    first: int
    end: int
    count: int
    kept: int
    before: Instant
    place: str
    dry: bool


@dataclass
class _Run:
    """One run's bounds and tally."""

    before: datetime
    held: frozenset[str]
    archives: Sequence[Archived]
    mark: int
    end: int
    """As far as entries are old, and archived, in whole bundles."""
    total: int
    count: int = 0
    kept: int = 0


class EntryPruner:
    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        clock: Clock,
        settings: RetentionSettings,
        storage: Storage | None,
        keys: Sequence[VerifierKey],
        held: Held,
        *,
        holder: str,
    ) -> None:
        self._store, self._ledger, self._clock, self._settings = store, ledger, clock, settings
        self._storage, self._keys, self._held = storage, tuple(keys), held
        self._turn = Turn(store, clock, LEASE, holder, "pruning of entries")

    async def run(self, *, dry: bool = False) -> AsyncIterator[Progress | EntryPruneReport]:
        """Prunes what is due; the report comes last. Raises ConfigError where entries are kept for ever,
        ConflictError where what is due is not archived, VerificationError where the archive does not hold."""
        storage, before = self._allowed()
        async with self._turn.held():
            run = await self._plan(storage.place, before)
            for archived in run.archives:
                end = min(archived.end, run.end)
                if end <= archived.first:
                    break
                async for done in self._segment(storage, run, archived, end, dry):
                    yield Progress(what="entries", done=done, total=max(run.total, done))
            yield EntryPruneReport(
                first=run.mark,
                end=max(run.mark, run.end),
                count=run.count,
                kept=run.kept,
                before=before,
                place=storage.place,
                dry=dry,
            )

    def _allowed(self) -> tuple[Storage, datetime]:
        if self._settings.entries is None:
            raise ConfigError(
                "entries are kept for ever",
                cause="ledger.retention.entries is not set",
                next_step="set it, for example to 7y; evidence goes without: watchkeeper ledger prune",
            )
        if self._storage is None:
            raise ConfigError(
                "entries are pruned only when they are archived, and there is no archive",
                cause="ledger.archive is not set",
                next_step="set ledger.archive, then: watchkeeper ledger archive",
            )
        return self._storage, self._clock.now() - length(self._settings.entries)

    async def _plan(self, place: str, before: datetime) -> _Run:
        async with self._store.read() as tx:
            archives, held = await rows.archives(tx, place), await self._held(tx)
            mark = await _mark(tx)
            old = await _old(tx, mark, before) // TILE * TILE
            end = min(old, archives[-1].end if archives else 0)
            if old > mark and end <= mark:
                raise ConflictError(
                    f"entries {mark} to {old} are old enough, and not in the archive",
                    place=place,
                    cause="nothing was archived there yet, or not for long",
                    next_step="watchkeeper ledger archive",
                )
            total = select(func.count()).select_from(_ENTRIES).where(_due(0, end, before))
            count = int((await tx.execute(total)).scalar_one())
        return _Run(before=before, held=held, archives=archives, mark=mark, end=end, total=count)

    async def _segment(
        self, storage: Storage, run: _Run, archived: Archived, end: int, dry: bool
    ) -> AsyncIterator[int]:
        """One archived segment, as far as it is due: read back, marked, deleted."""
        ids = await self._ids(run, archived.first, end)
        if not ids and end <= run.mark:
            return
        if not dry:
            await self._read_back(storage, archived)
            await self._turn.renew()
            await self._move_mark(archived, end)
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            if not dry:
                async with self._store.write() as tx:
                    await tx.execute(delete(ledger_staged).where(ledger_staged.c.id.in_(batch)))
                await self._turn.renew()
            run.count += len(batch)
            yield run.count + run.kept

    async def _ids(self, run: _Run, first: int, end: int) -> list[int]:
        """The rows to delete; at most those of a segment."""
        query = select(ledger_staged.c.id, ledger_staged.c.subject).select_from(_ENTRIES)
        query = query.where(_due(first, end, run.before))
        async with self._store.read() as tx:
            found = (await tx.execute(query.order_by(ledger_entry.c.idx))).all()
        ids = [row.id for row in found if row.subject not in run.held]
        run.kept += len(found) - len(ids)
        return ids

    async def _read_back(self, storage: Storage, archived: Archived) -> None:
        """The whole segment, from the archive, against its tiles, its checkpoint, the ledger's entry and our leaves."""
        async with self._store.read() as tx:
            check = ArchiveCheck(storage, self._keys, await rotations(tx))
        manifest = await asyncio.to_thread(check.manifest, archived.first)
        if manifest is not None and manifest.digest == archived.digest:
            async with self._store.read() as tx:
                frontier = await rows.frontier(tx, archived.first)
            async for _ in held_against(self._store, check, check.segment(manifest, manifest.previous, frontier)):
                pass
            report = check.report()
            if report.ok and report.end == archived.end:
                return
        problems = check.report().problems
        raise VerificationError(
            f"entries {archived.first} to {archived.end} are not in the archive as they were written; none is deleted",
            place=f"{storage.place}: {problems[0].where}: {problems[0].code}" if problems else storage.place,
            cause="objects of the archive are gone, damaged or changed",
            next_step="watchkeeper ledger archive --check",
        )

    async def _move_mark(self, archived: Archived, end: int) -> None:
        async with self._store.write() as tx:
            await self._turn.check(tx)
            mark = await _mark(tx)
            if end <= mark:
                return
            last = select(func.max(ledger_entry.c.staged_id)).where(ledger_entry.c.idx < end)
            last_staged = (await tx.execute(last)).scalar_one()
            await tx.execute(insert(ledger_pruned).values(end=end, last_staged_id=last_staged, at=self._clock.now()))
            data = EntriesPruned(first=mark, end=end, archive=archived.digest)
            await self._ledger.append(tx, Draft(type=EntryType.ENTRIES_PRUNED, subject="", data=data))


async def _mark(tx: AsyncConnection) -> int:
    found: int | None = (await tx.execute(select(func.max(ledger_pruned.c.end)))).scalar_one()
    return found or 0


async def _old(tx: AsyncConnection, mark: int, before: datetime) -> int:
    """The first index of which an entry is too young to go; the log's size if none is."""
    young = select(ledger_entry.c.idx).select_from(_ENTRIES)
    young = young.where(ledger_entry.c.idx >= mark, ledger_staged.c.time >= before)
    found: int | None = (await tx.execute(young.order_by(ledger_entry.c.idx).limit(1))).scalar_one_or_none()
    if found is not None:
        return found
    size: int | None = (await tx.execute(select(ledger_head.c.size))).scalar_one_or_none()
    return size or 0


def _due(first: int, end: int, before: datetime) -> ColumnElement[bool]:
    """Entries of these indices that are old enough and of a kind that goes."""
    return (
        (ledger_entry.c.idx >= first)
        & (ledger_entry.c.idx < end)
        & (ledger_staged.c.time < before)
        & ledger_staged.c.type.not_in(KEPT)
    )
