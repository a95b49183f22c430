"""A ledger to write to, sequence and verify in tests, and the writer process that is killed in the middle of it.

`python -m tests.testbed.ledgers stopped URL KEYFILE` stops itself between its lease and its batch.
`python -m tests.testbed.ledgers URL KEYFILE SEED DIE_AT [PREVIOUS_KEYFILE]` appends and sequences; it kills itself
(SIGKILL) right before or after its DIE_AT-th database statement or commit, and prints `acked ID` for what was
committed.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine, event

from tests.testbed.bodies import with_bodies
from tests.testbed.entries import INCIDENT
from watchkeeper.core.clock import Clock, ManualClock, SystemClock
from watchkeeper.core.entries import Draft, EntryType, Eviction, IncidentClosed
from watchkeeper.core.ids import EntryId
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.checks.fsck import fsck
from watchkeeper.ledger.checks.verify import VerifyReport, verify
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.ledger.reader import LogReader
from watchkeeper.ledger.sequencer import Sequencer
from watchkeeper.ledger.signing.keys import SigningKey, load_key
from watchkeeper.store.engine import Store
from watchkeeper.store.leases import Lease

ORIGIN = "log.example.com/test"


def draft(number: int = 1, subject: str = INCIDENT) -> Draft:
    return Draft(type=EntryType.EVICTION, subject=subject, data=Eviction(what="series", count=number, reason="test"))


def closing() -> Draft:
    return Draft(
        type=EntryType.INCIDENT_CLOSED, subject=INCIDENT, data=IncidentClosed(incident=INCIDENT, resolution="recovered")
    )


@dataclass
class Log:
    """One installation's ledger in a test."""

    store: Store
    clock: Clock = field(default_factory=ManualClock)
    key: SigningKey = field(default_factory=lambda: SigningKey.generate(ORIGIN))

    def __post_init__(self) -> None:
        self.ledger = self.writer("main")
        self.sequencer = self.sequencer_of("one")
        self.reader = LogReader(self.store)

    def writer(self, name: str) -> Ledger:
        return Ledger(self.store, self.clock, source=ORIGIN, writer=name)

    def sequencer_of(self, holder: str, batch: int = 5000) -> Sequencer:
        return Sequencer(self.store, self.clock, self.key, ORIGIN, holder=holder, batch=batch)

    def rotate(self, following: SigningKey | None = None) -> SigningKey:
        """From now on another key signs, as after a restart with a new key and the one before it."""
        previous, self.key = self.key, following or SigningKey.generate(ORIGIN)
        self.sequencer = Sequencer(self.store, self.clock, self.key, ORIGIN, previous=previous, holder="one")
        return previous

    async def append(self, *drafts: Draft) -> tuple[EntryId, ...]:
        async with self.store.write() as tx:
            return await self.ledger.append(tx, *drafts)

    async def append_whole(self, *drafts: Draft, evidence: Evidence | None = None) -> tuple[EntryId, ...]:
        """The same, with bodies for all the evidence that the drafts name."""
        kept = evidence or Evidence(self.store, clock=self.clock)
        async with self.store.write() as tx:
            return await self.ledger.append(tx, *await with_bodies(tx, kept, drafts))

    async def grow(self, *batches: int) -> None:
        """Appends and signs that many entries at a time."""
        for count in batches:
            await self.append(*(draft(n + 1) for n in range(count)))
            assert await self.sequencer.run_once() == count

    async def verify(self, anchor: str | None = None) -> VerifyReport:
        return await verify(self.reader, self.key.verifier.vkey, anchor)

    async def fsck(self, anchor: str | None = None) -> VerifyReport:
        return await fsck(self.reader, self.key.verifier.vkey, anchor)

    async def checkpoint(self) -> str:
        found = await self.reader.checkpoint()
        assert found is not None
        return found


def die_at(count: int) -> None:
    """Arms this process to kill itself at its `count`-th turn to the database."""
    turns = iter(range(1, count + 1))

    def turn(*args: object) -> None:
        if next(turns) == count:
            os.kill(os.getpid(), signal.SIGKILL)

    for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(Engine, name, turn)


async def write_until_killed(url: str, key_file: Path, seed: int, count: int, *previous: str) -> None:
    die_at(count)
    rng = random.Random(seed)
    log = Log(Store(url), SystemClock(), load_key(Path(previous[0]) if previous else key_file, ORIGIN))
    if previous:
        log.rotate(load_key(key_file, ORIGIN))
    log.ledger = log.writer(f"w{seed}")
    while True:
        for entry_id in await log.append(*(draft(n + 1) for n in range(rng.randint(1, 5)))):
            print("acked", entry_id, flush=True)
        if rng.random() < 0.6:
            await log.sequencer.run_once()


class Stopping(Sequencer):
    """Stops its process (SIGSTOP) each time it has the lease."""

    async def _hold(self) -> Lease | None:
        held = await super()._hold()
        os.kill(os.getpid(), signal.SIGSTOP)
        return held


async def stop_before_the_batch(url: str, key_file: Path) -> None:
    """Takes the sequencer's lease, stops, and sequences when it is woken."""
    store = Store(url)
    stopping = Stopping(store, SystemClock(), load_key(key_file, ORIGIN), ORIGIN, holder="stopped")
    print("sequenced", await stopping.run_once(), flush=True)
    await store.close()


if __name__ == "__main__" and sys.argv[1] == "stopped":
    asyncio.run(stop_before_the_batch(sys.argv[2], Path(sys.argv[3])))
elif __name__ == "__main__":
    asyncio.run(write_until_killed(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:]))
