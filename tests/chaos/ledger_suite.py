"""SUITE=ledger: kill -9 and SIGSTOP during append, sequencing and signing, with two sequencers at once.

The verdict is drawn from the database by other clients than ours (sqlite3, psycopg) and another Merkle tree (pymerkle):
no gap, no fork, nothing acknowledged lost, nothing twice; then verify and fsck must hold as well.
"""

from __future__ import annotations

import asyncio
import base64
import multiprocessing
import os
import random
import signal
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import psycopg
import pymerkle
from sqlalchemy import update

from tests.chaos import ledger_process
from tests.chaos.ledger_process import ORIGIN, Task
from tests.chaos.suite import Done, Plan
from tests.testbed.ledgers import Log
from tests.testbed.postgres import PostgresServer, postgres_server
from tests.testbed.stores import create_tables
from watchkeeper.core.clock import SystemClock
from watchkeeper.ledger.signing.checkpoint import Checkpoint, open_checkpoint
from watchkeeper.ledger.signing.keys import SigningKey
from watchkeeper.store.engine import Store
from watchkeeper.store.tables import lease

DATABASES = ("sqlite", "postgresql")
PHASE_S = 1.5
"""How long a phase lasts at most; what still lives then is killed."""
UP_S = 60.0


class LedgerSuite:
    def __init__(self, database: str) -> None:
        self._database = database

    def plan(self, seed: int) -> Plan:
        rng = random.Random(seed)
        phases = [
            {
                "writers": [rng.choice((0, rng.randint(1, 200))) for _ in range(rng.randint(1, 3))],
                "sequencers": [rng.choice((0, rng.randint(1, 120))) for _ in range(2)],
                "paused": rng.choice((None, 0, 1)),
                "after_s": round(rng.random() * 0.5, 3),
            }
            for _ in range(3)
        ]
        return {"seed": seed, "phases": phases}

    @contextmanager
    def opened(self) -> Iterator[Callable[[Plan], dict[str, Any]]]:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.chaos.ledger_process"])
        with ExitStack() as stack:
            server = stack.enter_context(postgres_server()) if self._database == "postgresql" else None

            def run(plan: Plan) -> dict[str, Any]:
                with (
                    tempfile.TemporaryDirectory(prefix="watchkeeper-chaos-") as directory,
                    database_of(server, Path(directory)) as url,
                ):
                    return asyncio.run(_Run(url, Path(directory), plan["seed"]).through(plan["phases"]))

            yield run

    def counts(self, done: list[Done]) -> dict[str, Any]:
        totals: Counter[str] = Counter()
        for each in done:
            totals.update({name: each.get(name, 0) for name in ("kills", "pauses", "acked", "entries", "checkpoints")})
        return dict(totals)


@contextmanager
def database_of(server: PostgresServer | None, directory: Path) -> Iterator[str]:
    if server is None:
        yield f"sqlite+aiosqlite:///{directory / 'watchkeeper.db'}"
        return
    database = server.fresh_database()
    try:
        yield database.url
    finally:
        server.drop_database(database)


@dataclass
class _Said:
    """What the processes were told before they died."""

    acked: list[str] = field(default_factory=list)
    signed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


class _Run:
    def __init__(self, url: str, directory: Path, seed: int) -> None:
        self._url, self._directory, self._seed = url, directory, seed
        self._key = SigningKey.generate(ORIGIN)
        self._rng = random.Random(seed)
        self._kills = self._pauses = 0
        self._up: dict[ForkServerProcess, Connection] = {}

    async def through(self, phases: list[dict[str, Any]]) -> dict[str, Any]:
        store = Store(self._url)
        try:
            await create_tables(store)
            for number, phase in enumerate(phases):
                await asyncio.to_thread(self._phase, number, phase)
            return await self._judge(store)
        finally:
            await store.close()

    def _phase(self, number: int, phase: dict[str, Any]) -> None:
        writers = [self._started(ledger_process.write, f"w{number}-{n}", at) for n, at in enumerate(phase["writers"])]
        signers = [
            self._started(ledger_process.sequence, f"s{number}-{n}", at) for n, at in enumerate(phase["sequencers"])
        ]
        alive = [*writers, *signers]
        try:
            self._until_up(alive)
            ends = time.monotonic() + PHASE_S
            self._until(alive, time.monotonic() + phase["after_s"])
            if phase["paused"] is not None:
                self._pause(signers[phase["paused"]], alive)
            self._until(alive, ends)
        finally:
            for process in alive:
                self._kills += process.exitcode is None or process.exitcode == -signal.SIGKILL
                process.kill()
                process.join()
        codes = {process.exitcode for process in alive}
        assert codes == {-signal.SIGKILL}, f"a process ended by itself: {codes}, seed {self._seed}"

    def _pause(self, process: ForkServerProcess, alive: list[ForkServerProcess]) -> None:
        """Frozen for longer than its lease lasts, while the other one goes on; then it wakes and finds itself late."""
        if not _signalled(process, signal.SIGSTOP):
            return
        self._pauses += 1
        self._until([each for each in alive if each is not process], time.monotonic() + 1.5 * ledger_process.LEASE_S)
        _signalled(process, signal.SIGCONT)

    def _until(self, alive: list[ForkServerProcess], deadline: float) -> None:
        """Until all have died, or the time has come."""
        while (left := deadline - time.monotonic()) > 0:
            living = [process.sentinel for process in alive if process.exitcode is None]
            if not living:
                return
            wait(living, timeout=left)

    def _until_up(self, alive: list[ForkServerProcess]) -> None:
        """The phase begins when every process is connected."""
        for process in alive:
            assert self._up[process].poll(UP_S), f"{process.name} did not come up within {UP_S:g} s"

    def _started(self, work: Callable[[Task, Connection], None], name: str, die_at: int) -> ForkServerProcess:
        words = str(self._directory / f"words-{name}")
        task = Task(self._url, self._key.to_secret().get_secret_value(), name, self._rng.getrandbits(32), die_at, words)
        context = multiprocessing.get_context("forkserver")
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(task, theirs), name=name, daemon=True)
        process.start()
        self._up[process] = ours
        return process

    def _said(self) -> _Said:
        said = _Said()
        for file in sorted(self._directory.glob("words-*")):
            for line in file.read_text().splitlines():
                word, _, rest = line.partition(" ")
                getattr(said, word).append(rest)
        return said

    async def _judge(self, store: Store) -> dict[str, Any]:
        said = self._said()
        assert not said.refused, f"a sequencer distrusted an honest log: {said.refused[0]}"
        log = Log(store, SystemClock(), self._key)
        async with store.write() as tx:  # do not wait for the dead holder's lease to end
            await tx.execute(update(lease).values(holder="", expires=SystemClock().now()))
        while await log.sequencer.run_once():
            continue
        entries, checkpoints = await asyncio.to_thread(self._raw)
        tree = pymerkle.InmemoryTree("sha256")
        for _, body in entries:
            tree.append_entry(body)
        anchors = [open_checkpoint(base64.b64decode(each).decode(), [self._key.verifier]) for each in said.signed]
        stored = [open_checkpoint(note, [self._key.verifier]) for note in checkpoints]
        _same_tree(tree, [*anchors, *stored])
        known = Counter(entry_id for entry_id, _ in entries)
        assert not [each for each, count in known.items() if count != 1], "an entry is in the log twice"
        lost = set(said.acked) - set(known)
        assert not lost, f"{len(lost)} acknowledged entries are lost"
        for note in (None, *said.signed[-1:]):
            anchor = None if note is None else base64.b64decode(note).decode()
            for report in (await log.verify(anchor), await log.fsck(anchor)):
                assert (report.problems, report.pending) == ((), 0), report.lines()
        return {
            "kills": self._kills,
            "pauses": self._pauses,
            "acked": len(said.acked),
            "entries": len(entries),
            "checkpoints": len(checkpoints),
        }

    def _raw(self) -> tuple[list[tuple[str, bytes]], list[str]]:
        """Entry ids and bodies in order of index, and the checkpoints, by a client that is not ours."""
        query = (
            "SELECT e.idx, s.entry_id, s.body FROM ledger_entry e JOIN ledger_staged s ON s.id = e.staged_id ORDER BY 1"
        )
        notes = "SELECT body FROM ledger_checkpoint ORDER BY size"
        waiting = "SELECT count(*) FROM ledger_pending"
        if self._url.startswith("sqlite"):
            with closing(sqlite3.connect(self._url.partition(":///")[2])) as lite:
                rows, bodies = lite.execute(query).fetchall(), lite.execute(notes).fetchall()
                pending = lite.execute(waiting).fetchone()
        else:
            with psycopg.connect(self._url.replace("+psycopg", "", 1)) as server:
                rows, bodies = server.execute(query).fetchall(), server.execute(notes).fetchall()
                pending = server.execute(waiting).fetchone()
        assert pending == (0,), f"{pending} entries still wait"
        assert [row[0] for row in rows] == list(range(len(rows))), "the indices have a gap"
        return [(row[1], bytes(row[2])) for row in rows], [row[0] for row in bodies]


def _signalled(process: ForkServerProcess, number: signal.Signals) -> bool:
    """False for a process that has killed itself meanwhile."""
    if process.pid is None or process.exitcode is not None:
        return False
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def _same_tree(tree: pymerkle.InmemoryTree, checkpoints: list[Checkpoint]) -> None:
    for each in checkpoints:
        assert each.size <= tree.get_size(), f"a checkpoint of {each.size} was signed, the log has {tree.get_size()}"
        assert each.root == tree.get_root(each.size), f"the log was forked: checkpoint {each.size} is of another tree"
