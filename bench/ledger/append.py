"""How fast entries are appended, beside a plain INSERT of the same bytes: alternating, in the same processes.

The plain table has a key and the bytes, nothing else: no index, no chain, no canonical form, no pending list. What ours
costs more is what those cost. Sequencing is not in it; `checkpoint_p99` runs it beside.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from pathlib import Path

from bench.ledger.load import drafts
from bench.ledger.writers import Work, Writers, create_plain, finished, writers
from bench.report import Figure
from watchkeeper.store import schema
from watchkeeper.store.engine import Store

WRITERS = 8
GROUP = 100
SHOWN = (1, 10)
"""Entries a transaction that are shown beside, without a goal."""
WARM_UP = 200


async def _prepare(url: str) -> None:
    store = Store(url)
    try:
        await schema.upgrade(store)
        await create_plain(store)
    finally:
        await store.close()


def append_ratio_postgres(url: str, runs: int, entries: int) -> list[Figure]:
    """Also gives the absolute figure: both are measured by the same runs."""
    asyncio.run(_prepare(url))
    with writers(url, WRITERS) as at_work:
        shown = _beside(at_work, runs=1, entries=max(50, entries // 10))
        ours, plain = _alternating(at_work, runs, entries, GROUP)
    note = f"{WRITERS} writer processes, {GROUP} entries a transaction, {_bytes()}; {shown}"
    return [
        _ratio("append_ratio_postgres", ours, plain, note),
        Figure.median("ledger", "append_postgres_8w", "entries/s", ours, note).model_copy(
            update={"rivals": {"plain_insert": round(statistics.median(plain))}}
        ),
    ]


def append_ratio_sqlite(runs: int, entries: int) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="watchkeeper-bench-") as name:
        url = f"sqlite+aiosqlite:///{Path(name) / 'ledger.db'}"
        asyncio.run(_prepare(url))
        with writers(url, 1) as at_work:
            shown = _beside(at_work, runs=1, entries=max(50, entries // 10))
            ours, plain = _alternating(at_work, runs, entries, GROUP)
    rates = f"ours {statistics.median(ours):.0f}/s, plain {statistics.median(plain):.0f}/s"
    note = f"one writer, {GROUP} entries a transaction, synchronous=FULL, {_bytes()}: {rates}; {shown}"
    return [_ratio("append_ratio_sqlite", ours, plain, note)]


def _alternating(at_work: Writers, runs: int, entries: int, group: int) -> tuple[list[float], list[float]]:
    ours: list[float] = []
    plain: list[float] = []
    for mine in (False, True):
        at_work.rate(Work(mine, min(entries, WARM_UP), group, seed=0))
    for run in range(runs):
        for mine in (False, True) if run % 2 else (True, False):
            (ours if mine else plain).append(at_work.rate(Work(mine, entries, group, seed=run)))
    return ours, plain


def _beside(at_work: Writers, runs: int, entries: int) -> str:
    told = []
    for group in SHOWN:
        ours, plain = _alternating(at_work, runs, entries, group)
        told.append(f"{group} a transaction {ours[0] / plain[0]:.2f} ({ours[0]:.0f}/s beside {plain[0]:.0f}/s)")
    return "without a goal: " + ", ".join(told)


def _ratio(metric: str, ours: list[float], plain: list[float], note: str) -> Figure:
    ratios = [mine / theirs for mine, theirs in zip(ours, plain, strict=True)]
    return Figure.median("ledger", metric, "ratio", ratios, note).model_copy(update={"rivals": {"plain_insert": 1.0}})


def _bytes() -> str:
    bodies = finished(drafts(1, 500))
    return f"{sum(map(len, bodies)) / len(bodies):.0f} bytes an entry"
