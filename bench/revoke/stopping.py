"""Stops among claims: from the call that the API makes to the first claim that it refuses.

The process that stops also sequences and signs the log, as the daemon does. A refusal counts for a stop if its claim
was begun after the stop before it was lifted: nothing else can have refused it then. At the end the ledger says whether
a claim was committed under a stop; if so, nothing is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import select
from tests.testbed.authority import an_operator

from bench.revoke.claiming import SCOPES, SOURCE, Claimant, Refused, Tally, prepare
from bench.revoke.processes import Load, claiming_apart
from watchkeeper.core.clock import SystemClock
from watchkeeper.core.entries import EntryType, Envelope, StopRecorded
from watchkeeper.daemon.sequencing import SEQUENCE_S
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.sequencer import Sequencer
from watchkeeper.ledger.signing.keys import SigningKey
from watchkeeper.ledger.tables import ledger_staged
from watchkeeper.policies.revocation.epochs import Epochs
from watchkeeper.store import schema
from watchkeeper.store.engine import Store

WORKERS, PROCESSES = 8, 4
WARM_S = 2.0
BETWEEN_S = (0.2, 0.6)
HOLD_S = 0.05
"""How long a stop stands after the first refusal: those of other processes, which may have been earlier, are in."""
WAIT_S = 30.0

Claiming = Callable[[Callable[[Refused], None], list[Tally]], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Stopped:
    """Milliseconds of each stop: to the first refusal, and to the return of its own commit."""

    refused: list[float]
    returned: list[float]
    tally: Tally


async def among_claims(url: str, stops: int, rate: float, *, counted: bool) -> Stopped:
    """SQLite has one process for everything, as the daemon there; PostgreSQL's claimants have their own. `counted`:
    under a cap that counts what others do, for which claims stand in line."""
    store = Store(url)
    try:
        await schema.upgrade(store)
        await prepare(store, counted=counted)
        inside = _claiming_here(store, rate) if store.is_sqlite else _claiming_elsewhere(url, rate)
        async with _sequencing(store):
            stopped = await _run(store, inside, stops)
        await _nothing_claimed_under_a_stop(store)
        return stopped
    finally:
        await store.close()


async def _run(store: Store, claiming: Claiming, stops: int) -> Stopped:
    clock, rng, by = SystemClock(), random.Random(1), an_operator()
    epochs = Epochs(store, Ledger(store, clock, source=SOURCE, writer="daemon"), clock)
    heard: asyncio.Queue[Refused] = asyncio.Queue()
    refused, returned, tallies = [], [], list[Tally]()
    async with claiming(heard.put_nowait, tallies):
        await asyncio.sleep(WARM_S)
        lifted = time.monotonic()
        for number in range(stops):
            scope = SCOPES[number % len(SCOPES)]
            await asyncio.sleep(rng.uniform(*BETWEEN_S))
            began = time.monotonic()
            await epochs.stop(scope, by)
            returned.append((time.monotonic() - began) * 1000)
            refused.append((await _first(heard, lifted) - began) * 1000)
            await epochs.resume(scope, by)
            lifted = time.monotonic()
    return Stopped(refused, returned, _together(tallies))


async def _first(heard: asyncio.Queue[Refused], lifted: float) -> float:
    async with asyncio.timeout(WAIT_S):
        while (refusal := await heard.get()).begun < lifted:
            pass
    await asyncio.sleep(HOLD_S)
    first = refusal.at
    while not heard.empty():
        other = heard.get_nowait()
        if other.begun >= lifted:
            first = min(first, other.at)
    return first


def _together(tallies: list[Tally]) -> Tally:
    seconds = max(each.seconds for each in tallies)
    return Tally(sum(each.granted for each in tallies), sum(each.refused for each in tallies), seconds)


def _claiming_here(store: Store, rate: float) -> Claiming:
    @asynccontextmanager
    async def claiming(told: Callable[[Refused], None], tallies: list[Tally]) -> AsyncIterator[None]:
        until = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            work = group.create_task(Claimant(store, "claimant-0", told).claim(rate, WORKERS, 0, until))
            yield
            until.set()
        tallies.append(work.result())

    return claiming


def _claiming_elsewhere(url: str, rate: float) -> Claiming:
    load = Load(rate / PROCESSES, WORKERS // PROCESSES)
    return lambda told, tallies: claiming_apart(url, PROCESSES, load, told, tallies)


@asynccontextmanager
async def _sequencing(store: Store) -> AsyncIterator[None]:
    sequencer = Sequencer(store, SystemClock(), SigningKey.generate(SOURCE), SOURCE)

    async def turns() -> None:
        while True:
            await asyncio.sleep(SEQUENCE_S)
            await sequencer.run_turn()

    work = asyncio.create_task(turns())
    try:
        yield
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


async def _nothing_claimed_under_a_stop(store: Store) -> None:
    """A stop holds its gate until it commits, so the row of a claim that commits after it comes after its row."""
    query = (
        select(ledger_staged.c.type, ledger_staged.c.body)
        .where(ledger_staged.c.type.in_([EntryType.CLAIM, EntryType.STOP]))
        .order_by(ledger_staged.c.id)
    )
    async with store.read() as tx:
        found = (await tx.execute(query)).all()
    stands = False
    for row in found:
        if row.type == EntryType.STOP:
            entry = Envelope.model_validate_json(row.body).typed()
            assert isinstance(entry, StopRecorded)
            stands = entry.stopped
        elif stands:
            raise AssertionError("a claim was committed under a stop")
