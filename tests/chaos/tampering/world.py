"""The honest log that every tampering starts from, made once: its database, its export, and what was remembered."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from tests.testbed.entries import INCIDENT, PERSON, one_of_each
from tests.testbed.ledgers import ORIGIN, Log, draft
from tests.testbed.stores import create_tables, unguarded
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.entries import Draft, EntryType, OrderKind, OrderRecorded
from watchkeeper.core.evidence import EvidenceKind, EvidenceRef
from watchkeeper.core.ids import OrderId
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.ledger.exports.export import export
from watchkeeper.ledger.exports.members import Format
from watchkeeper.ledger.signing.keys import SigningKey
from watchkeeper.ledger.signing.note import Note, b64_strict
from watchkeeper.ledger.tree.proof import TlogProof
from watchkeeper.store.engine import Store

BATCHES = (3, 1, 40, 17, 212, 5, 1, 90, 33, 64, 12, 130, 2, 7)
"""617 entries: two full tiles and a part of a third."""
EARLIER = 10
"""After so many batches the older state was copied that a rollback puts back."""


@dataclass(frozen=True)
class Honest:
    """`older` is the database as it was after `EARLIER` batches; `foreign` another log of the same name; `lines` and
    `tiles` are its exports."""

    directory: Path
    vkey: str
    anchor: str
    sizes: tuple[int, ...]
    """Of all checkpoints."""
    proofs: tuple[tuple[str, bytes], ...]
    """Proofs of single entries, each with the entry's bytes."""

    @property
    def database(self) -> Path:
        return self.directory / "log.db"

    @property
    def older(self) -> Path:
        return self.directory / "older.db"

    @property
    def foreign(self) -> Path:
        return self.directory / "foreign.db"


class World:
    """One adversary's copy of everything."""

    def __init__(self, honest: Honest, directory: Path) -> None:
        self.honest, self.directory = honest, directory
        self.database = directory / "log.db"

    @contextmanager
    def rows(self) -> Iterator[sqlite3.Connection]:
        """The database, with nothing of ours in between; committed at the end."""
        with closing(sqlite3.connect(self.database)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
            with connection:
                yield connection

    @contextmanager
    def foreign_rows(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.honest.foreign)) as connection:
            yield connection

    def store(self) -> Store:
        return Store(f"sqlite+aiosqlite:///{self.database}")


def copied(honest: Honest, directory: Path) -> World:
    world = World(honest, directory)
    shutil.copyfile(honest.database, world.database)
    return world


async def honest_log(directory: Path) -> Honest:
    key = SigningKey.generate(ORIGIN)
    await _grow(directory / "log.db", key, directory / "older.db")
    await _grow(directory / "foreign.db", SigningKey.generate(ORIGIN))
    anchor, proofs = await _taken_out(directory, key)
    for name in ("log.db", "older.db", "foreign.db"):
        await _without_guards(directory / name)
    return Honest(directory, key.verifier.vkey, anchor, tuple(accumulate(BATCHES)), proofs)


async def _grow(database: Path, key: SigningKey, older: Path | None = None) -> None:
    store = Store(f"sqlite+aiosqlite:///{database}")
    try:
        await create_tables(store)
        clock = ManualClock()
        log = Log(store, clock, key)
        second = log.writer("second")
        evidence = Evidence(store, clock=clock)
        for number, count in enumerate(BATCHES, start=1):
            async with store.write() as tx:
                said = [f"what {number} says".encode()] * min(2, count - 1)
                refs = [await evidence.put(tx, EvidenceKind.COMMENT, each) for each in said]
                await log.ledger.append(tx, *_drafts(count - 1, refs))
                await second.append(tx, draft(number))
            clock.advance(30)
            assert await log.sequencer.run_once() == count
            if older is not None and number == EARLIER:
                _backup(database, older)
    finally:
        await store.close()


async def _taken_out(directory: Path, key: SigningKey) -> tuple[str, tuple[tuple[str, bytes], ...]]:
    """The exports; returns the newest checkpoint, and proofs with the bytes that they are of."""
    store = Store(f"sqlite+aiosqlite:///{directory / 'log.db'}")
    try:
        log = Log(store, ManualClock(), key)
        await export(log.reader, directory / "lines", key.verifier.vkey, Format.JSONL)
        await export(log.reader, directory / "tiles", key.verifier.vkey, Format.TILES)
        note = Note.from_text(await log.checkpoint())
        proofs = []
        for index in range(0, sum(BATCHES), 29):
            shown = await log.reader.inclusion(index)
            proof = TlogProof(index, tuple(b64_strict(each) for each in shown.hashes), note)
            (entry,) = await log.reader.entries(index, index + 1)
            proofs.append((proof.to_text(), entry.envelope.to_bytes()))
        return note.to_text(), tuple(proofs)
    finally:
        await store.close()


async def _without_guards(database: Path) -> None:
    store = Store(f"sqlite+aiosqlite:///{database}")
    try:
        async with store.write() as tx:
            await unguarded(tx)
    finally:
        await store.close()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode=DELETE")


def _backup(database: Path, copy: Path) -> None:
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)


def _drafts(count: int, refs: list[EvidenceRef]) -> list[Draft]:
    """Of all kinds that refer to no evidence that is not there; the first ones refer to one of `refs` each: a body that
    no entry names is no part of the log."""
    made = [
        Draft(
            type=EntryType.ORDER,
            subject=INCIDENT,
            data=OrderRecorded(
                order=OrderId("ord_019b7c1d4e5f8011223344556677"),
                incident=INCIDENT,
                kind=OrderKind.CLOSE,
                by=PERSON,
                comment=ref,
            ),
        )
        for ref in refs
    ]
    plain = [each for kind, each in one_of_each().items() if kind in _PLAIN]
    return made + [plain[n % len(plain)] for n in range(count - len(made))]


_PLAIN = (
    EntryType.STARTED,
    EntryType.INCIDENT_OPENED,
    EntryType.DECISION,
    EntryType.CLAIM,
    EntryType.EFFECT,
    EntryType.OUTCOME,
    EntryType.REMEDY,
    EntryType.ESCALATION,
    EntryType.STOP,
    EntryType.INCIDENT_CLOSED,
)
