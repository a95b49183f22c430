"""Counts the events of each objective from the signal state, bucket by bucket, for as long as it may still change.

A bucket is counted from its end on, again and again until late signals are refused. Nothing is counted of the time
before this process started: the state may have forgotten, and what was counted then stands; nor before any signal was
heard, nor of calls while a gateway could not be read. It judges nothing: `policies.budgets` does the arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from watchkeeper.core.clock import Clock
from watchkeeper.core.objectives import BUCKET_S, Bucket, Objective
from watchkeeper.core.subjects import Subject, SubjectKind
from watchkeeper.policies.budgets.service import ErrorBudgets
from watchkeeper.signals.sources import SourceBook
from watchkeeper.signals.state import SignalState

AGAIN = 3
"""How many whole buckets are counted each time: late signals change the newest."""
TOLD_S = 60.0
"""A series' value for a bucket is the first one told after the bucket's end, within this time."""


class Counting:
    def __init__(self, budgets: ErrorBudgets, signals: SignalState, book: SourceBook, clock: Clock) -> None:
        self._budgets, self._signals, self._book, self._clock = budgets, signals, book, clock
        self._since = clock.now()

    async def run_once(self) -> None:
        if self._signals.heard is None:
            return  # nothing was watched yet
        for objective in self._budgets.objectives:
            found = list(self._buckets(objective))
            if found:
                await self._budgets.record(objective, found)

    def _buckets(self, objective: Objective) -> Iterator[Bucket]:
        end = int(self._clock.now().timestamp()) // BUCKET_S
        for bucket in range(end - AGAIN, end):
            start = datetime.fromtimestamp(bucket * BUCKET_S, UTC)
            if start < self._since:
                continue
            if objective.bad_series:
                counted = _series(self._signals, objective, start)
            else:
                counted = self._calls(objective, start)
            if counted is not None:
                yield counted

    def _calls(self, objective: Objective, start: datetime) -> Bucket | None:
        """None: a gateway was not read."""
        end = start + timedelta(seconds=BUCKET_S)
        if not self._book.gateways_told(start, end):
            return None
        tally = self._signals.tally(Subject(kind=SubjectKind.SERVICE, id=objective.service), start, end)
        slow = 0.0 if objective.latency_s is None else min(tally.slower_than(objective.latency_s), tally.served)
        return Bucket(start=start, bad=tally.provider_errors + slow, total=tally.served + tally.provider_errors)


def _series(signals: SignalState, objective: Objective, start: datetime) -> Bucket | None:
    """None: not told in time."""
    bad = _told(signals, objective, objective.bad_series, start)
    total = _told(signals, objective, objective.total_series, start)
    if bad is None or total is None:
        return None
    return Bucket(start=start, bad=min(bad, total), total=total)


def _told(signals: SignalState, objective: Objective, name: str, start: datetime) -> float | None:
    end = start + timedelta(seconds=BUCKET_S)
    subject = Subject(kind=SubjectKind.SERVICE, id=objective.service)
    values = [
        next((value for at, value in points if end <= at < end + timedelta(seconds=TOLD_S)), None)
        for points in signals.series(name, subject, end)
    ]
    known = [value for value in values if value is not None]
    return max(0.0, sum(known)) if known else None
