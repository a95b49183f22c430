"""Copies signed entries to the archive, segment by segment, and writes an entry for each once every copy was read back.

A segment is whole bundles of 256 entries under one checkpoint. It is derived anew after a crash and comes out the same,
since what a manifest in the archive already fixes is kept to; what is there is compared, not sent again. Nothing is
archived whose bytes do not give the root that was signed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from watchkeeper.core.clock import Clock
from watchkeeper.core.entries import Archived, Draft, EntryType
from watchkeeper.core.errors import LedgerError, VerificationError
from watchkeeper.core.model import Contract, Instant
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.archive import rows
from watchkeeper.ledger.archive.files import JSON, File, SegmentFiles, tile_name, unbundle
from watchkeeper.ledger.archive.manifest import Manifest, manifest_name
from watchkeeper.ledger.archive.storage import Storage
from watchkeeper.ledger.retention.progress import Progress
from watchkeeper.ledger.retention.turns import Turn
from watchkeeper.ledger.signing.checkpoint import Checkpoint, open_checkpoint
from watchkeeper.ledger.signing.keychain import KeyChain
from watchkeeper.ledger.signing.note import VerifierKey, open_note
from watchkeeper.ledger.snapshot import rotations
from watchkeeper.ledger.tree.merkle import TILE, leaf_hash
from watchkeeper.store.engine import Store

SPAN = 256 * TILE
"""The entries of a segment, and so of a manifest, at most."""
AT_ONCE = 4
"""Bundles that are in memory, and on their way, at a time."""
LEASE = "ledger-archive"


class ArchiveReport(Contract):
    """What one run did: entries `first` up to `end`, in so many segments. Equal numbers: there was nothing to do."""

    place: str
    first: int
    end: int
    segments: int
    objects: int
    locked_until: Instant | None = None


class Archivist:
    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        clock: Clock,
        storage: Storage,
        keys: Sequence[VerifierKey],
        *,
        holder: str,
        span: int = SPAN,
    ) -> None:
        self._store, self._ledger, self._clock, self.storage = store, ledger, clock, storage
        self._keys, self._span = tuple(keys), span
        self._turn = Turn(store, clock, LEASE, holder, "archive")

    async def run(self) -> AsyncIterator[Progress | ArchiveReport]:
        """Archives all that is signed and fills a bundle; the report comes last. Raises ConflictError while another
        process archives."""
        async with self._turn.held():
            await asyncio.to_thread(self.storage.prepare)
            async for each in self._segments():
                yield each

    async def run_once(self) -> None:
        """The same for nobody who watches."""
        async for _ in self.run():
            pass

    async def _segments(self) -> AsyncIterator[Progress | ArchiveReport]:
        async with self._store.read() as tx:
            done = await rows.archives(tx, self.storage.place)
            total = await rows.newest_end(tx)
        start = first = done[-1].end if done else 0
        previous = done[-1].digest if done else None
        segments = objects = 0
        locked: datetime | None = None
        while (told := await self._next(first, previous)) is not None:
            segment = _Segment(self._store, self.storage, self._keys, self._clock, *told)
            async for end in segment.copy():
                yield Progress(what="entries", done=end - start, total=max(total - start, end - start))
                await self._turn.renew()
            archived = await segment.finish()
            async with self._store.write() as tx:
                await self._turn.check(tx)
                await self._ledger.append(tx, Draft(type=EntryType.ARCHIVED, subject="", data=archived))
            first, previous, locked = archived.end, archived.digest, archived.locked_until
            segments, objects = segments + 1, objects + archived.objects
        yield ArchiveReport(
            place=self.storage.place, first=start, end=first, segments=segments, objects=objects, locked_until=locked
        )

    async def _next(self, first: int, previous: str | None) -> tuple[int, int, str | None] | None:
        """Where the next segment begins, under which size, and what it follows."""
        begun = await asyncio.to_thread(self.storage.get, manifest_name(first))
        if begun is not None:
            manifest = Manifest.from_bytes(begun.body)
            return first, manifest.size, previous
        async with self._store.read() as tx:
            size = await rows.segment_size(tx, first, self._span)
        return None if size is None else (first, size, previous)


class _Segment:
    """One segment on its way into the archive."""

    def __init__(
        self,
        store: Store,
        storage: Storage,
        keys: Sequence[VerifierKey],
        clock: Clock,
        first: int,
        size: int,
        previous: str | None,
    ) -> None:
        self._store, self._storage, self._keys = store, storage, keys
        self._first, self._size, self._previous = first, size, previous
        self._until = storage.locked_until(clock.now())
        self._locks: list[datetime] = []
        self._files: SegmentFiles | None = None

    async def copy(self) -> AsyncIterator[int]:
        """Puts the bundles and their tiles there; says after each few which entry comes next."""
        async with self._store.read() as tx:
            files = self._files = SegmentFiles(await rows.frontier(tx, self._first), self._first)
        end = self._size // TILE * TILE
        for start in range(self._first, end, AT_ONCE * TILE):
            stop = min(start + AT_ONCE * TILE, end)
            made: list[File] = []
            for number in range(start // TILE, stop // TILE):
                made += files.bundle(await self._bodies(number))
            await self._keep(made)
            yield stop

    async def finish(self) -> Archived:
        """Closes the segment with its checkpoint and manifest. Raises VerificationError when its root is not signed."""
        files = self._files
        assert files is not None, "copy first"
        async with self._store.read() as tx:
            note = await rows.checkpoint(tx, self._size)
            keys = KeyChain(self._keys, await rotations(tx)).in_force(self._size)
            edge = await rows.leaves(tx, files.frontier.tree.size, self._size)
        if note is None:
            raise _not_ours(f"checkpoint {self._size}", "the archive was begun by another log, or from a later backup")
        checkpoint, signer = _opened(note, keys)
        root = files.frontier.root(edge)
        if (checkpoint.size, checkpoint.root) != (self._size, root):
            raise _not_ours(f"checkpoint {self._size}", "rows of the ledger were changed in the database")
        await self._keep(files.edge(edge, self._size, note, signer))
        manifest = files.manifest(checkpoint.origin, self._size, root, self._previous)
        await self._keep([File(manifest_name(self._first), manifest.to_bytes(), JSON)])
        return Archived(
            first=manifest.first,
            end=manifest.end,
            size=manifest.size,
            root=manifest.root,
            place=self._storage.place,
            objects=len(manifest.objects) + 1,
            digest=manifest.digest,
            locked_until=min(self._locks, default=None),
        )

    async def _bodies(self, number: int) -> list[bytes]:
        """The entries of a bundle, each held against its leaf hash. Pruned ones are taken from the archive itself."""
        async with self._store.read() as tx:
            found = await rows.rows(tx, number * TILE, (number + 1) * TILE)
        bodies = [row.body for row in found if row.body is not None]
        if len(bodies) < len(found):
            bodies = await self._archived(number)
        if len(found) != TILE or [leaf_hash(body) for body in bodies] != [row.leaf for row in found]:
            raise _not_ours(f"bundle {number}", "rows of the ledger were changed in the database, or the archive was")
        return bodies

    async def _archived(self, number: int) -> list[bytes]:
        name = tile_name("entries", number)
        stored = await asyncio.to_thread(self._storage.get, name)
        if stored is None:
            raise LedgerError(
                f"entries {number * TILE} and following are pruned, and not in this archive",
                place=f"{self._storage.place}/{name}",
                cause="ledger.archive names another place than before",
                next_step="copy the earlier archive there first, or name it again",
            )
        try:
            return unbundle(stored.body)
        except ValueError:
            return []

    async def _keep(self, files: Sequence[File]) -> None:
        """All at once; when one fails, the others are let come to their end first: a thread cannot be called back."""
        ended = await asyncio.gather(*(asyncio.to_thread(self._kept, file) for file in files), return_exceptions=True)
        for failure in ended:
            if failure is not None:
                raise failure

    def _kept(self, file: File) -> None:
        """Written if it is not there, and in either case read back whole."""
        stored = self._storage.get(file.name)
        if stored is None:
            self._storage.put(file.name, file.body, file.media_type, self._until)
            stored = self._storage.get(file.name)
        where = f"{self._storage.place}/{file.name}"
        if stored is None or stored.body != file.body:
            raise VerificationError(
                "an object in the archive is not what was written",
                place=where,
                cause="another log is archived at this place, or the storage lost or changed it",
                next_step="give this log a prefix or directory of its own, or look at the storage",
            )
        if self._until is None:
            return
        if stored.locked_until is None:
            raise VerificationError(
                "an object in the archive is not locked",
                place=where,
                cause="it was written before ledger.archive.lock was set, or the server ignores object lock",
                next_step="use a new prefix, or a server that keeps object lock",
            )
        self._locks.append(stored.locked_until)


def _not_ours(where: str, cause: str) -> VerificationError:
    return VerificationError(
        "what is to be archived is not what was signed; nothing is recorded as archived",
        place=where,
        cause=cause,
        next_step="watchkeeper ledger verify",
    )


def _opened(note: str, keys: Sequence[VerifierKey]) -> tuple[Checkpoint, VerifierKey]:
    checkpoint = open_checkpoint(note, keys)
    _, signed = open_note(note, keys)
    return checkpoint, signed[0]
