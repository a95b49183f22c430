"""Error budgets, kept: events are counted by bucket, and read when a decision asks.

A bucket that is counted again replaces what was known of it, if it has no fewer events: late calls are added, and a
restart that has forgotten some takes nothing away. So counting twice, or at once, is counting once.
It does not know what happened while nobody watched; such buckets have no row. One that has just ended is not such a
bucket yet: until it is counted, windows end with the one before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.clock import Clock
from watchkeeper.core.decisions import BudgetReading, Burn
from watchkeeper.core.objectives import BUCKET_S, DAY_S, Bucket, Objective
from watchkeeper.core.subjects import Scope
from watchkeeper.policies.budgets.burn import Sums, burn_rate, remaining
from watchkeeper.policies.budgets.tables import objective_bucket
from watchkeeper.policies.rows import insert_or_ignore
from watchkeeper.store.engine import Store

SHOWN_WINDOWS = (300, 1800, 3600, 6 * 3600, DAY_S, 3 * DAY_S)
COUNTED_S = 150
"""How long after its end a bucket may still wait to be counted: for its series to tell, and for the next count."""
_t = objective_bucket.c


class ErrorBudgets:
    def __init__(self, store: Store, clock: Clock, objectives: Iterable[Objective] = ()) -> None:
        self._store, self._clock = store, clock
        self.objectives = tuple(objectives)

    async def record(self, objective: Objective, buckets: Iterable[Bucket]) -> None:
        """And lets go of what is older than the period."""
        oldest = _bucket(self._clock.now()) - objective.period_s // BUCKET_S - 1
        async with self._store.write() as tx:
            for each in buckets:
                about = {**_about(objective), "bucket": _bucket(each.start)}
                put = insert_or_ignore(tx)(objective_bucket).values(**about, bad=each.bad, total=each.total)
                await tx.execute(
                    put.on_conflict_do_update(
                        index_elements=list(about),
                        set_={"bad": each.bad, "total": each.total},
                        where=_t.total <= each.total,
                    )
                )
            await tx.execute(delete(objective_bucket).where(*_of(objective), _t.bucket < oldest))

    async def readings(
        self, scope: Scope, wanted: Mapping[str, tuple[int, ...]], now: datetime
    ) -> tuple[BudgetReading, ...]:
        """Of the scope's objectives that are asked for, with the windows in seconds; those it does not have are left
        out."""
        known = [each for each in self.objectives if each.scope == scope and each.name in wanted]
        async with self._store.read() as tx:
            return tuple([await _reading(tx, each, wanted[each.name], now) for each in known])

    async def shown(self) -> tuple[tuple[Objective, BudgetReading], ...]:
        """Every objective as it stands."""
        now = self._clock.now()
        async with self._store.read() as tx:
            return tuple([(each, await _reading(tx, each, SHOWN_WINDOWS, now)) for each in self.objectives])


async def _reading(tx: AsyncConnection, objective: Objective, windows: Iterable[int], now: datetime) -> BudgetReading:
    period, end = objective.period_s // BUCKET_S, await _end(tx, objective, now)
    left = remaining(await _sums(tx, objective, period, end), objective.target, period)
    burns = []
    for window_s in sorted(set(windows)):
        buckets = max(1, window_s // BUCKET_S)
        rate = burn_rate(await _sums(tx, objective, buckets, end), objective.target, buckets)
        if rate is not None:
            burns.append(Burn(window_s=window_s, rate=rate))
    return BudgetReading(objective=objective.name, remaining=left, burns=tuple(burns))


async def _end(tx: AsyncConnection, objective: Objective, now: datetime) -> int:
    """The first bucket that windows leave out: the running one, or the one before, where that only just ended and was
    not counted yet."""
    running = _bucket(now)
    if _bucket(now - timedelta(seconds=COUNTED_S)) == running:
        return running
    counted = select(_t.bucket).where(*_of(objective), _t.bucket == running - 1)
    return running if (await tx.execute(counted)).first() is not None else running - 1


async def _sums(tx: AsyncConnection, objective: Objective, buckets: int, end: int) -> Sums:
    """Over so many buckets before `end`."""
    sums = select(func.coalesce(func.sum(_t.bad), 0.0), func.coalesce(func.sum(_t.total), 0.0), func.count())
    row = (await tx.execute(sums.where(*_of(objective), _t.bucket >= end - buckets, _t.bucket < end))).one()
    return Sums(float(row[0]), float(row[1]), int(row[2]))


def _of(objective: Objective):  # type: ignore[no-untyped-def]  # column conditions
    return (getattr(_t, name) == value for name, value in _about(objective).items())


def _about(objective: Objective) -> dict[str, str]:
    return {"environment": objective.environment, "service": objective.service, "objective": objective.name}


def _bucket(at: datetime) -> int:
    return int(at.timestamp()) // BUCKET_S
