"""From an entry's commit to the checkpoint that covers it, with the sequencer called as the daemon calls it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import statistics
import time

from sqlalchemy import func, select

from bench.ledger.load import ORIGIN, drafts, groups
from bench.report import Figure
from watchkeeper.core.clock import SystemClock
from watchkeeper.daemon.sequencing import SEQUENCE_S
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.sequencer import Sequencer
from watchkeeper.ledger.signing.keys import SigningKey
from watchkeeper.ledger.tables import ledger_head, ledger_pending
from watchkeeper.store import schema
from watchkeeper.store.engine import Store

WRITERS = 8
GROUP = 10
PAUSE_S = 0.05
"""Between two transactions of a writer, on average."""


def checkpoint_p99(url: str, seconds: float) -> list[Figure]:
    waits, entries = asyncio.run(_run(url, seconds))
    if len(waits) < 100:
        return []
    cuts = statistics.quantiles(waits, n=100)
    note = (
        f"PostgreSQL, {WRITERS} writers of {GROUP} entries a transaction, {entries / seconds:.0f} entries/s for "
        f"{seconds:g} s; a turn of the sequencer every {SEQUENCE_S:g} s; from the return of the commit to the return "
        f"of the checkpoint's. Median {cuts[49]:.0f} ms."
    )
    spread = (round(min(waits), 1), round(max(waits), 1))
    return [
        Figure(
            bench="ledger",
            metric="checkpoint_p99",
            ours=round(cuts[98], 1),
            unit="ms",
            n=len(waits),
            spread=spread,
            note=note,
        )
    ]


async def _run(url: str, seconds: float) -> tuple[list[float], int]:
    store, clock = Store(url), SystemClock()
    try:
        await schema.upgrade(store)
        sequencer = Sequencer(store, clock, SigningKey.generate(ORIGIN), ORIGIN)
        committed: dict[int, float] = {}
        waits: list[float] = []
        end = time.perf_counter() + seconds
        work = [asyncio.create_task(_writer(store, number, committed, end)) for number in range(WRITERS)]
        signing = asyncio.create_task(_signing(store, sequencer, committed, waits))
        await asyncio.gather(*work)
        while committed:
            await asyncio.sleep(SEQUENCE_S)
        signing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await signing
        async with store.read() as tx:
            size = (await tx.execute(select(ledger_head.c.size))).scalar_one()
        return waits, size
    finally:
        await store.close()


async def _writer(store: Store, number: int, committed: dict[int, float], end: float) -> None:
    rng = random.Random(number)
    ledger = Ledger(store, SystemClock(), source=ORIGIN, writer=f"writer-{number}")
    for group in groups(drafts(number, 20_000), GROUP):
        async with store.write() as tx:
            await ledger.append(tx, *group)
            last = (await tx.execute(select(func.max(ledger_pending.c.id)))).scalar_one()
        committed[last] = time.perf_counter()
        await asyncio.sleep(rng.uniform(0, 2 * PAUSE_S))
        if time.perf_counter() > end:
            return


async def _signing(store: Store, sequencer: Sequencer, committed: dict[int, float], waits: list[float]) -> None:
    """A turn, and then who waited for it: whoever was committed and is not pending any more."""
    while True:
        await asyncio.sleep(SEQUENCE_S)
        before = dict(committed)
        if not await sequencer.run_turn():
            continue
        now = time.perf_counter()
        async with store.read() as tx:
            still = set((await tx.execute(select(ledger_pending.c.id))).scalars())
        for staged, at in before.items():
            if staged not in still:
                waits.append((now - at) * 1000)
                del committed[staged]
