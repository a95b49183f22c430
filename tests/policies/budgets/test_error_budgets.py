"""Events by bucket, in both databases: counted again they are counted once; read over windows and period."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select

from watchkeeper.core.clock import ManualClock
from watchkeeper.core.objectives import BUCKET_S, DAY_S, Bucket, Objective
from watchkeeper.core.subjects import Scope
from watchkeeper.policies.budgets.service import COUNTED_S, ErrorBudgets
from watchkeeper.policies.budgets.tables import objective_bucket
from watchkeeper.store.engine import Store

SERVED = Objective(name="served", service="chat", environment="prod", target=0.99, period_s=DAY_S)
SCOPE = Scope(environment="prod", service="chat")


@pytest.fixture
def clock() -> ManualClock:
    clock = ManualClock()
    clock.advance(2 * DAY_S)
    return clock


@pytest.fixture
def budgets(store: Store, clock: ManualClock) -> ErrorBudgets:
    return ErrorBudgets(store, clock, [SERVED])


def ago(clock: ManualClock, buckets: int) -> datetime:
    """The start of the bucket that began so many before the running one."""
    return clock.now() - timedelta(seconds=clock.now().timestamp() % BUCKET_S + buckets * BUCKET_S)


async def watched(budgets: ErrorBudgets, clock: ManualClock, buckets: int, bad: float = 0, total: float = 100) -> None:
    await budgets.record(SERVED, [Bucket(start=ago(clock, n), bad=bad, total=total) for n in range(1, buckets + 1)])


async def rates(budgets: ErrorBudgets, clock: ManualClock, *windows: int) -> tuple[float | None, dict[int, float]]:
    (reading,) = await budgets.readings(SCOPE, {"served": windows}, clock.now())
    return reading.remaining, {burn.window_s: round(burn.rate, 6) for burn in reading.burns}


async def test_windows_end_with_the_last_whole_bucket(budgets: ErrorBudgets, clock: ManualClock) -> None:
    await watched(budgets, clock, 288)
    running = Bucket(start=ago(clock, 0), bad=9, total=9)
    await budgets.record(SERVED, [Bucket(start=ago(clock, 1), bad=12, total=100), running])
    left, burns = await rates(budgets, clock, 300, 3600)
    assert burns == {300: 12.0, 3600: 1.0}
    assert left == pytest.approx(1 - 12 / 288)


async def test_a_bucket_that_just_ended_is_not_missed_before_it_is_counted(
    budgets: ErrorBudgets, clock: ManualClock
) -> None:
    await watched(budgets, clock, 12, bad=3)
    clock.advance(BUCKET_S - clock.now().timestamp() % BUCKET_S + COUNTED_S - 1)
    assert (await rates(budgets, clock, 300, 3600))[1] == {300: 3.0, 3600: 3.0}
    await budgets.record(SERVED, [Bucket(start=ago(clock, 1), bad=9, total=100)])
    assert (await rates(budgets, clock, 300))[1] == {300: 9.0}


async def test_a_bucket_that_nobody_counted_in_time_is_unknown(budgets: ErrorBudgets, clock: ManualClock) -> None:
    await watched(budgets, clock, 12, bad=3)
    clock.advance(BUCKET_S - clock.now().timestamp() % BUCKET_S + COUNTED_S)
    assert (await rates(budgets, clock, 300))[1] == {}
    clock.advance(BUCKET_S - COUNTED_S)
    assert (await rates(budgets, clock, 300))[1] == {}


async def test_counted_again_or_at_once_it_is_counted_once(budgets: ErrorBudgets, clock: ManualClock) -> None:
    many = [ErrorBudgets(budgets._store, clock, [SERVED]) for _ in range(4)]
    await asyncio.gather(*(watched(each, clock, 12, bad=1) for each in many))
    before = await rates(budgets, clock, 3600)
    assert before[1] == {3600: 1.0}
    await budgets.record(SERVED, [Bucket(start=ago(clock, 3), bad=2, total=101)])
    assert (await rates(budgets, clock, 3600))[1] == {3600: round((13 / 1201) / 0.01, 6)}


async def test_a_restart_that_has_forgotten_takes_nothing_away(budgets: ErrorBudgets, clock: ManualClock) -> None:
    await watched(budgets, clock, 12, bad=5)
    await budgets.record(SERVED, [Bucket(start=ago(clock, n), bad=0, total=0) for n in range(1, 13)])
    assert (await rates(budgets, clock, 3600))[1] == {3600: 5.0}


async def test_a_gap_is_unknown_and_never_good(budgets: ErrorBudgets, clock: ManualClock) -> None:
    await watched(budgets, clock, 6, bad=50)
    clock.advance(4 * BUCKET_S)
    assert (await rates(budgets, clock, 300, 3600)) == (None, {})


async def test_what_is_older_than_the_period_is_let_go(budgets: ErrorBudgets, clock: ManualClock) -> None:
    await watched(budgets, clock, 288)
    clock.advance(DAY_S)
    await watched(budgets, clock, 1)
    async with budgets._store.read() as tx:
        kept = (await tx.execute(select(func.count()).select_from(objective_bucket))).scalar_one()
    assert kept <= 3


async def test_only_what_is_asked_for_and_of_the_scope_is_read(budgets: ErrorBudgets, clock: ManualClock) -> None:
    assert await budgets.readings(SCOPE, {"other": (300,)}, clock.now()) == ()
    elsewhere = Scope(environment="prod", service="search")
    assert await budgets.readings(elsewhere, {"served": (300,)}, clock.now()) == ()
