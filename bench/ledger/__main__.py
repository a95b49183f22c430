"""`python -m bench.ledger`: appending beside a plain INSERT, the wait for a checkpoint, verify and fsck, replay,
tamperings found, and growth.

PostgreSQL is one of its own, started and thrown away. A figure's size is an option: what was not measured is not told.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.postgres import PostgresServer, postgres_server

from bench.ledger.append import append_ratio_postgres, append_ratio_sqlite
from bench.ledger.check import check_figure, peak_figure
from bench.ledger.latency import checkpoint_p99
from bench.ledger.logs import Made
from bench.ledger.tamper import tamper_found
from bench.replay_rate import replay_check
from bench.report import Figure, write

GROWTH = (10_000, 100_000, 1_000_000, 10_000_000)
PARTS = ("append", "latency", "check", "replay", "tamper", "growth")


@dataclass(frozen=True)
class Options:
    runs: int
    entries: int
    seconds: float
    log: int
    growth: int
    decisions: int
    tamperings: int
    only: tuple[str, ...]


def append(options: Options, server: PostgresServer) -> list[Figure]:
    figures = append_ratio_sqlite(options.runs, options.entries)
    with _database(server) as url:
        figures += append_ratio_postgres(url, options.runs, max(100, options.entries // 4))
    return figures


def latency(options: Options, server: PostgresServer) -> list[Figure]:
    with _database(server) as url:
        return checkpoint_p99(url, options.seconds)


def check(options: Options, server: PostgresServer) -> list[Figure]:
    with _log() as made:
        asyncio.run(made.grow(options.log))
        return [figure for name in ("verify", "fsck") for figure in check_figure(name, made, min(3, options.runs))]


def replay(options: Options, server: PostgresServer) -> list[Figure]:
    return replay_check(options.decisions, runs=min(3, options.runs))


def tamper(options: Options, server: PostgresServer) -> list[Figure]:
    return tamper_found(options.tamperings)


def growth(options: Options, server: PostgresServer) -> Iterator[Figure]:
    """One log, made longer from size to size; at each, what appending to it and checking it takes."""
    with _log() as made:
        for size in (size for size in GROWTH if size <= options.growth):
            rate = asyncio.run(made.grow(size))
            note = f"entries a second, sequenced and signed, one process on SQLite, up to {size} entries"
            yield Figure.median("ledger", f"grow_to_{size}", "entries/s", [rate], note)
            for name in ("verify", "fsck"):
                yield from check_figure(name, made, 1)
            yield peak_figure("verify", made)


@contextmanager
def _log() -> Iterator[Made]:
    with tempfile.TemporaryDirectory(prefix="watchkeeper-bench-") as name:
        yield Made(Path(name))


@contextmanager
def _database(server: PostgresServer) -> Iterator[str]:
    database = server.fresh_database()
    try:
        yield database.url
    finally:
        server.drop_database(database)


Part = Callable[[Options, PostgresServer], Iterable[Figure]]
WORK: dict[str, Part] = {
    "append": append,
    "latency": latency,
    "check": check,
    "replay": replay,
    "tamper": tamper,
    "growth": growth,
}


def measure(options: Options) -> Iterator[Figure]:
    """One figure after the other: a long run that is cut has told what it knew."""
    with postgres_server() as server:
        for part in options.only:
            yield from WORK[part](options, server)


def parse(arguments: Sequence[str] | None = None) -> tuple[Options, bool]:
    parser = argparse.ArgumentParser(prog="python -m bench.ledger", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="alternating runs of each figure")
    parser.add_argument("--entries", type=int, default=8_000, help="appended in a run")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long to measure the wait for a checkpoint")
    parser.add_argument("--log", type=int, default=1_000_000, help="entries in the log that is checked")
    parser.add_argument("--decisions", type=int, default=40_000, help="distinct decisions that are made again")
    parser.add_argument("--tamperings", type=int, default=1_000, help="how many tamperings are looked for")
    parser.add_argument("--growth", type=int, default=0, help="grow a log up to so many entries (10^4 to 10^7)")
    parser.add_argument("--short", action="store_true", help="under three minutes: a log of 10,000 entries")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure only this; may be given again")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    given = parser.parse_args(arguments)
    parts = tuple(given.only or (PARTS if given.growth else PARTS[:-1]))
    if given.short:
        return Options(5, 2_000, 5.0, 10_000, 0, 4_000, 40, parts), given.json
    sizes = (given.runs, given.entries, given.seconds, given.log, given.growth, given.decisions, given.tamperings)
    return Options(*sizes, parts), given.json


def main() -> int:
    options, as_json = parse()
    figures: list[Figure] = []
    for found in measure(options):
        figures.append(found)
        if as_json:
            write([found], sys.stdout, as_json=True)
            sys.stdout.flush()
    if not as_json:
        write(figures, sys.stdout, as_json=False)
    return 0 if figures else 1


if __name__ == "__main__":
    sys.exit(main())
