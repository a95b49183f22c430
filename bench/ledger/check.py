"""How long verify and fsck take over a log on SQLite, and how much memory: each run in a process of its own."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from pymerkle import InmemoryTree

from bench.ledger.logs import Made
from bench.report import Figure
from watchkeeper.ledger.checks.fsck import fsck
from watchkeeper.ledger.checks.verify import verify
from watchkeeper.ledger.reader import LogReader
from watchkeeper.store.engine import Store

CHECKS = {"verify": verify, "fsck": fsck}


MOST_IN_MEMORY = 1_000_000
"""The rival keeps its whole tree in memory: 1.5 GB for so many entries."""


class Run(NamedTuple):
    seconds: float
    peak_mb: float
    """Of the process that checks, without its helpers."""


def check_figure(name: str, made: Made, runs: int) -> list[Figure]:
    """`verify_1m` or `fsck_1m` for a log of a million; of another size the metric says which."""
    found = [_apart(name, made) for _ in range(runs)]
    seconds = [run.seconds for run in found]
    note = f"{made.size} entries on SQLite, a checkpoint for 5,000; peak memory {max(r.peak_mb for r in found):.0f} MB"
    figure = Figure.median("ledger", f"{name}_{short(made.size)}", "s", seconds, note)
    if name == "verify" and made.size <= MOST_IN_MEMORY:
        rival = round(pymerkle_seconds(made), 3)
        figure = figure.model_copy(
            update={"rivals": {"pymerkle": rival}, "note": f"{note}; pymerkle: its tree and root over the same bytes"}
        )
    return [figure]


def peak_figure(name: str, made: Made) -> Figure:
    run = _apart(name, made)
    note = f"peak resident memory of a process that does nothing else, {made.size} entries"
    return Figure.median("ledger", f"{name}_peak_{short(made.size)}", "MB", [run.peak_mb], note)


def short(size: int) -> str:
    return f"{size // 1_000_000}m" if size % 1_000_000 == 0 else f"{size // 1_000}k"


def pymerkle_seconds(made: Made) -> float:
    """Reading the same bytes from the same database is in its time, as it is in ours."""
    with sqlite3.connect(made.url.partition("///")[2]) as database:
        began = time.perf_counter()
        tree = InmemoryTree(algorithm="sha256")
        query = "SELECT body FROM ledger_staged JOIN ledger_entry ON staged_id = id ORDER BY idx"
        for (body,) in database.execute(query):
            tree.append_entry(body)
        tree.get_state()
        return time.perf_counter() - began


def _apart(name: str, made: Made) -> Run:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_main, args=(theirs, name, made.url, made.vkey))
    process.start()
    theirs.close()
    try:
        found: Run = ours.recv()
        return found
    finally:
        process.join()


def _main(pipe: Connection, name: str, url: str, vkey: str) -> None:
    pipe.send(asyncio.run(_timed(name, url, vkey)))


async def _timed(name: str, url: str, vkey: str) -> Run:
    store = Store(url)
    try:
        began = time.perf_counter()
        report = await CHECKS[name](LogReader(store), vkey)
        seconds = time.perf_counter() - began
    finally:
        await store.close()
    if not report.ok:
        raise ValueError(f"{name} found fault with a log that was just made: {report.problems[:3]}")
    return Run(seconds, _peak_mb())


def _peak_mb() -> float:
    """Not `ru_maxrss`: Linux counts what the process was before its exec, a fork of one that may be larger."""
    with Path("/proc/self/status").open() as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
