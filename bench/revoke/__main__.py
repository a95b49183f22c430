"""`python -m bench.revoke`: from a stop to the first claim that it refuses, while 200 claims a second are tried.

It begins with the call that the API makes, and ends when the claim's refusal is recorded and returned. The wait for the
next claim to arrive is in it. `refused_p99` is that of the slower database, and absent unless both were measured while
at least nine tenths of that rate were answered. Otherwise, under another rate, or under a cap that counts, figures have
other names; how many claims were answered is in the note.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.testbed.postgres import postgres_server

from bench.report import Figure, write
from bench.revoke.stopping import PROCESSES, WORKERS, Stopped, among_claims

DATABASES = ("sqlite", "postgres")
RATE = 200.0
REACHED = 0.9
"""Of the rate that is tried. With less the figures have other names: they are not what was asked for."""
FEWEST = 100
"""Stops of which a p99 can be told."""


@contextmanager
def _database(name: str) -> Iterator[str]:
    if name == "sqlite":
        with tempfile.TemporaryDirectory(prefix="watchkeeper-bench-") as directory:
            yield f"sqlite+aiosqlite:///{Path(directory) / 'watchkeeper.db'}"
        return
    with postgres_server() as server:
        yield server.fresh_database().url


def measure(database: str, stops: int, rate: float, *, counted: bool) -> list[Figure]:
    with _database(database) as url:
        found = asyncio.run(among_claims(url, stops, rate, counted=counted))
    name = database + ("" if rate == RATE else f"_at_{rate:g}") + ("_counted" if counted else "")
    granted, refused, seconds = found.tally
    name += "" if granted + refused >= REACHED * rate * seconds else "_below_rate"
    note = _note(database, rate, found)
    return [_p99(f"refused_p99_{name}", found.refused, note), _p99(f"stop_p99_{name}", found.returned, note)]


def _p99(metric: str, times: list[float], note: str) -> Figure:
    cuts = statistics.quantiles(times, n=100)
    return Figure(
        bench="revoke",
        metric=metric,
        ours=round(cuts[98], 1),
        unit="ms",
        n=len(times),
        spread=(round(min(times), 1), round(max(times), 1)),
        note=f"median {cuts[49]:.1f} ms; {note}",
    )


def _note(database: str, rate: float, found: Stopped) -> str:
    granted, refused, seconds = found.tally
    where = "the process that stops claims too" if database == "sqlite" else f"{PROCESSES} processes claim, one stops"
    return (
        f"{where}, {WORKERS} claims at a time, at most {rate:g} a second: {(granted + refused) / seconds:.0f} a second "
        f"were answered ({granted} granted, {refused} refused); none was committed under a stop"
    )


def _slower(found: Sequence[Figure]) -> Iterator[Figure]:
    both = [each for each in found if each.metric in {f"refused_p99_{name}" for name in DATABASES}]
    if len(both) == len(DATABASES):
        slower = max(both, key=lambda each: each.ours)
        yield slower.model_copy(update={"metric": "refused_p99", "note": f"{slower.metric}: {slower.note}"})


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.revoke", description=__doc__)
    parser.add_argument("--stops", type=int, default=500, help=f"on each database, at least {FEWEST}")
    parser.add_argument("--rate", type=float, default=RATE, help="claims a second that are tried")
    parser.add_argument("--counted", action="store_true", help="under a cap that counts what others do")
    parser.add_argument("--database", choices=DATABASES, action="append", help="measure only this; both if not given")
    parser.add_argument("--short", action="store_true", help=f"{FEWEST} stops on each")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    given = parser.parse_args()
    stops = FEWEST if given.short else max(FEWEST, given.stops)
    found: list[Figure] = []
    for database in given.database or DATABASES:
        found += measure(database, stops, given.rate, counted=given.counted)
    write([*_slower(found), *found], sys.stdout, as_json=given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
