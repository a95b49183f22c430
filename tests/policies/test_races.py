"""Several processes: a stop among claimants (invariant 2), and crashes in and after a claim (invariant 4).

The order of the ledger's rows judges: a stop holds its gate until it commits, so a row of a later claim is later.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from signal import SIGSTOP

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.testbed.authority import Authority, an_operator, entries
from tests.testbed.claimant import PLAN
from tests.testbed.process import ChildProcess
from tests.testbed.stores import create_tables

from watchkeeper.core.claims import Claim
from watchkeeper.core.clock import ManualClock, SystemClock
from watchkeeper.core.entries import Draft, EntryType, StopRecorded
from watchkeeper.core.errors import RefusedError
from watchkeeper.core.ids import EntryId
from watchkeeper.core.outcomes import Effect, EffectOutcome
from watchkeeper.policies.claiming.claims import Busy, Taken
from watchkeeper.policies.tables import effect_claim
from watchkeeper.store.engine import Store

ROOT = Path(__file__).parents[2]


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def claimant(stack: ExitStack, store: Store, where: Path, name: str, *words: str) -> ChildProcess:
    url = store.url.render_as_string(hide_password=False)
    argv = [sys.executable, "-m", "tests.testbed.claimant", url, name, *words]
    return stack.enter_context(ChildProcess(name, argv, log=where / f"{name}.log", cwd=ROOT))


def said(child: ChildProcess, word: str) -> None:
    child.wait_until(lambda: word in child.log_tail().split(), timeout_s=60, what=word)


async def claims_in(store: Store) -> int:
    async with store.read() as tx:
        return int((await tx.execute(select(func.count()).select_from(effect_claim))).scalar_one())


async def test_invariant_2_no_claim_commits_after_a_stop_has(
    store: Store, processes: ExitStack, tmp_path: Path
) -> None:
    authority = Authority(store, SystemClock())
    children = [claimant(processes, store, tmp_path, f"c{n}", "many", "100000") for n in range(3)]
    while await claims_in(store) < 25:
        assert all(child.running for child in children), [child.log_tail() for child in children]
        await asyncio.sleep(0.02)
    report = await authority.epochs.stop("service:prod/chat", an_operator())
    for child in children:
        said(child, "stopped")
    recorded = await entries(store)
    stop = next(n for n, entry in enumerate(recorded) if isinstance(entry, StopRecorded))
    assert not [entry for entry in recorded[stop:] if isinstance(entry, Claim)]
    claimed = {entry.id for entry in recorded if isinstance(entry, Claim)}
    settled = {entry.claim for entry in recorded[:stop] if isinstance(entry, EffectOutcome)}
    in_flight = {claim.id for claim in report.in_flight}
    assert claimed - settled <= in_flight <= claimed
    assert in_flight == set(next(e for e in recorded if isinstance(e, StopRecorded)).in_flight)
    assert len(claimed) == await claims_in(store)


class Paused:
    """Stands where a transaction appends its entry, until told to go on."""

    def __init__(self, authority: Authority) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        self._append = authority.ledger.append
        authority.ledger.append = self._wait  # type: ignore[method-assign]

    async def _wait(self, tx: AsyncConnection, *drafts: Draft) -> tuple[EntryId, ...]:
        self.reached.set()
        await self.go.wait()
        return await self._append(tx, *drafts)


async def test_invariant_2_a_stop_waits_for_a_claim_that_is_committing_and_lists_it(store: Store) -> None:
    claiming, stopping = Authority(store), Authority(store, writer="s")
    request = await claiming.request(PLAN)
    pause = Paused(claiming)
    claim = asyncio.ensure_future(claiming.claims.take(request))
    await pause.reached.wait()
    stop = asyncio.ensure_future(stopping.epochs.stop("all", an_operator()))
    assert (await asyncio.wait({stop}, timeout=0.05))[0] == set()
    pause.go.set()
    taken, report = await claim, await stop
    assert isinstance(taken, Taken)
    assert report.in_flight == (taken.claim,)


async def test_invariant_2_a_claim_waits_for_a_stop_that_is_committing_and_is_refused(store: Store) -> None:
    claiming, stopping = Authority(store), Authority(store, writer="s")
    request = await claiming.request(PLAN)
    pause = Paused(stopping)
    stop = asyncio.ensure_future(stopping.epochs.stop("all", an_operator()))
    await pause.reached.wait()
    claim = asyncio.ensure_future(claiming.claims.take(request))
    assert (await asyncio.wait({claim}, timeout=0.05))[0] == set()
    pause.go.set()
    await stop
    with pytest.raises(RefusedError) as caught:
        await claim
    assert caught.value.reason == "stopped"
    assert await claims_in(store) == 0


async def test_invariant_4_killed_inside_the_claim_nothing_was_claimed(
    store: Store, processes: ExitStack, tmp_path: Path
) -> None:
    child = claimant(processes, store, tmp_path, "c", "inside")
    said(child, "inside")
    child.kill9()
    authority = Authority(store, SystemClock())
    await authority.taken(PLAN, holder="w2")
    assert len(await entries(store)) == 1


async def test_invariant_4_killed_after_the_claim_it_is_observed_before_anything_is_sent(
    store: Store, processes: ExitStack, tmp_path: Path
) -> None:
    child = claimant(processes, store, tmp_path, "c", "after")
    said(child, "after")
    child.kill9()
    clock = ManualClock(datetime.now(UTC))
    authority = Authority(store, clock)
    claim = (await authority.claims.open_claims())[0]
    assert isinstance(await authority.claims.take(await authority.request(PLAN, holder="w2")), Busy)
    clock.advance(10)
    taken = await authority.claims.take(await authority.request(PLAN, holder="w2"))
    assert isinstance(taken, Taken)
    assert (taken.fresh, taken.claim.id, taken.claim.fence) == (False, claim.id, 2)
    await authority.claims.settle(taken.claim, Effect.SUCCEEDED, "observed")
    assert len(await entries(store, EntryType.EFFECT)) == 1


@pytest.mark.peer
async def test_invariant_2_a_frozen_claimant_does_not_hold_up_a_stop(
    pg_url: str, processes: ExitStack, tmp_path: Path
) -> None:
    """On PostgreSQL. On SQLite the claimant and the stop are one process; another one would block it (limitations)."""
    store = Store(pg_url)
    await create_tables(store)
    child = claimant(processes, store, tmp_path, "c", "inside")
    said(child, "inside")
    child.signal(SIGSTOP)
    report = await Authority(store, SystemClock()).epochs.stop("all", an_operator())
    assert report.in_flight == ()
    assert await claims_in(store) == 0
    child.kill9()
    await store.close()
