"""An archive of a test's log, storages that break at a chosen call, and the process that is killed while it archives.

`python -m tests.testbed.archives WORK URL KEYFILE DIRECTORY DIE_AT` works until it kills itself (SIGKILL): `archive` at
its DIE_AT-th turn to the storage, `prune` (evidence and entries) at its DIE_AT-th turn to the database. At its end it
prints `done`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from tests.testbed.ledgers import ORIGIN, Log, die_at
from watchkeeper.core.clock import SystemClock
from watchkeeper.core.entries import Archived, EntryType
from watchkeeper.ledger.archive.archivist import ArchiveReport, Archivist
from watchkeeper.ledger.archive.check import ArchiveCheck, ArchiveCheckReport
from watchkeeper.ledger.archive.directory import DirectoryStorage
from watchkeeper.ledger.archive.storage import Storage, Stored
from watchkeeper.ledger.retention import prune, prune_entries
from watchkeeper.ledger.retention.periods import RetentionSettings
from watchkeeper.ledger.retention.prune import EvidencePruner
from watchkeeper.ledger.retention.prune_entries import EntryPruner
from watchkeeper.ledger.signing.keys import load_key
from watchkeeper.store.engine import Store

SPAN = 512
"""Two bundles a segment."""


def archivist(log: Log, storage: Storage, span: int = SPAN, holder: str = "one") -> Archivist:
    return Archivist(log.store, log.ledger, log.clock, storage, [log.key.verifier], holder=holder, span=span)


async def archive(log: Log, storage: Storage, span: int = SPAN) -> ArchiveReport:
    """Archives what there is, and gives the entries of it their index."""
    reports = [each async for each in archivist(log, storage, span).run() if isinstance(each, ArchiveReport)]
    while await log.sequencer.run_once():
        pass
    return reports[-1]


async def told(log: Log) -> list[Archived]:
    found = await log.reader.find(types=(EntryType.ARCHIVED,))
    return [each for each in (entry.envelope.typed() for entry in found) if isinstance(each, Archived)]


def checked(log: Log, storage: Storage) -> ArchiveCheckReport:
    check = ArchiveCheck(storage, [log.key.verifier])
    for _ in check.walk():
        pass
    return check.report()


class Tapped:
    """A storage that tells of each call before and after it."""

    def __init__(self, inner: Storage, tap: Callable[[str, str], None]) -> None:
        self._inner, self._tap = inner, tap

    @property
    def place(self) -> str:
        return self._inner.place

    def prepare(self) -> None:
        self._inner.prepare()

    def locked_until(self, now: datetime) -> datetime | None:
        return self._inner.locked_until(now)

    def put(self, name: str, body: bytes, media_type: str, until: datetime | None) -> bool:
        self._tap("put", name)
        wrote = self._inner.put(name, body, media_type, until)
        self._tap("wrote", name)
        return wrote

    def get(self, name: str) -> Stored | None:
        self._tap("get", name)
        return self._inner.get(name)


def killing(at: int) -> Callable[[str, str], None]:
    turns = iter(range(1, at + 1))

    def tap(what: str, name: str) -> None:
        if next(turns, at) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    return tap


async def nobody(tx: AsyncConnection) -> frozenset[str]:
    return frozenset()


ONE_DAY = RetentionSettings(evidence="1d", entries="1d")


def pruners(log: Log, storage: Storage) -> tuple[EvidencePruner, EntryPruner]:
    """Of a log that began long ago: all but the last day goes."""
    evidence = EvidencePruner(log.store, log.ledger, log.clock, ONE_DAY, nobody)
    keys = [log.key.verifier]
    entries = EntryPruner(log.store, log.ledger, log.clock, ONE_DAY, storage, keys, nobody, holder="one")
    return evidence, entries


async def prune_until_killed(url: str, key_file: Path, directory: Path, at: int) -> None:
    prune.BATCH = prune_entries.BATCH = 100
    log = Log(Store(url), SystemClock(), load_key(key_file, ORIGIN))
    die_at(at)
    evidence, entries = pruners(log, DirectoryStorage(directory))
    await evidence.run_once()
    async for _ in entries.run():
        pass
    print("done", flush=True)


async def archive_until_killed(url: str, key_file: Path, directory: Path, die_at: int) -> None:
    log = Log(Store(url), SystemClock(), load_key(key_file, ORIGIN))
    await archivist(log, Tapped(DirectoryStorage(directory), killing(die_at))).run_once()
    print("done", flush=True)


if __name__ == "__main__":
    work = {"archive": archive_until_killed, "prune": prune_until_killed}[sys.argv[1]]
    asyncio.run(work(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5])))
