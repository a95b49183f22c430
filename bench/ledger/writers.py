"""Writers of their own processes that append, or insert plainly, at the same time: what is timed is the slowest.

Each prepares its work (entries as drafts, or their finished bytes) before the clock starts. The plain INSERT stores the
same number of bytes in a table with nothing but a key, in transactions of the same size on the same store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import NamedTuple

from sqlalchemy import Column, LargeBinary, MetaData, Table, insert

from bench.ledger.load import ORIGIN, drafts, groups
from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.clock import SystemClock
from watchkeeper.core.entries import Draft, entry_bytes
from watchkeeper.core.model import format_instant
from watchkeeper.ledger.append import Ledger
from watchkeeper.store.engine import Store
from watchkeeper.store.metadata import BigId

PLAIN = Table(
    "plain",
    MetaData(),
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("body", LargeBinary, nullable=False),
)
WAIT_S = 300.0


class Work(NamedTuple):
    """`ours` or the plain INSERT: so many entries by each writer, so many a transaction."""

    ours: bool
    entries: int
    group: int
    seed: int


async def create_plain(store: Store) -> None:
    async with store.write() as tx:
        await tx.run_sync(PLAIN.create, checkfirst=True)


def finished(all_drafts: list[Draft]) -> list[bytes]:
    """The bytes that these drafts become, with made-up places in a chain."""
    now = format_instant(SystemClock().now())
    return [
        entry_bytes(
            id=f"ent_{n:028x}",
            source=f"{ORIGIN}/writer-0",
            type=draft.type,
            time=now,
            subject=draft.subject,
            wkseq=n,
            wkprev="0" * 64,
            data=canonical_model(draft.data),
        )
        for n, draft in enumerate(all_drafts, start=1)
    ]


async def append_all(store: Store, ledger: Ledger, work: list[list[Draft]]) -> None:
    for group in work:
        async with store.write() as tx:
            await ledger.append(tx, *group)


async def insert_all(store: Store, work: list[list[dict[str, bytes]]]) -> None:
    for group in work:
        async with store.write() as tx:
            await tx.execute(insert(PLAIN), group)


async def _writer(pipe: Connection, url: str, name: str) -> None:
    store = Store(url)
    ledger = Ledger(store, SystemClock(), source=ORIGIN, writer=name, max_pending=10**9)
    try:
        await append_all(store, ledger, [drafts(0, 1)])
        pipe.send("here")
        while (work := await asyncio.to_thread(pipe.recv)) is not None:
            made = drafts(work.seed, work.entries)
            plain = [] if work.ours else [{"body": body} for body in finished(made)]
            grouped = list(groups(made, work.group))
            rows = [plain[first : first + work.group] for first in range(0, len(plain), work.group)]
            pipe.send("ready")
            await asyncio.to_thread(pipe.recv)
            await (append_all(store, ledger, grouped) if work.ours else insert_all(store, rows))
            pipe.send("done")
    finally:
        await store.close()


def _main(pipe: Connection, url: str, name: str) -> None:
    asyncio.run(_writer(pipe, url, name))


class Writers:
    def __init__(self, pipes: list[Connection]) -> None:
        self._pipes = pipes

    def seconds(self, work: Work) -> float:
        """From the common start to the last writer's last commit."""
        self._tell(work, "ready")
        began = time.perf_counter()
        self._tell("go", "done")
        return time.perf_counter() - began

    def rate(self, work: Work) -> float:
        """Entries a second over all writers."""
        return len(self._pipes) * work.entries / self.seconds(work)

    def _tell(self, what: object, answer: str) -> None:
        for pipe in self._pipes:
            pipe.send(what)
        for pipe in self._pipes:
            if not pipe.poll(WAIT_S) or pipe.recv() != answer:
                raise TimeoutError("a writer does not answer")


@contextmanager
def writers(url: str, count: int) -> Iterator[Writers]:
    context = get_context("spawn")
    pipes: list[Connection] = []
    processes = []
    try:
        for number in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_main, args=(theirs, url, f"writer-{number}"), daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        for pipe in pipes:
            if not pipe.poll(WAIT_S):
                raise TimeoutError("a writer does not start")
            pipe.recv()
        yield Writers(pipes)
    finally:
        for pipe, process in zip(pipes, processes, strict=True):
            if process.is_alive():
                pipe.send(None)
            process.join(10)
            if process.is_alive():
                process.kill()
