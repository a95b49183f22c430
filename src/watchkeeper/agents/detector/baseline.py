"""A subject's own normal: median and spread of its clean steps.

A step teaches unless a remedy of ours was in force, or it was over the line drawn by the clean steps before it; so a
lasting excess never becomes the normal while the history reaches back before it. Only steps with traffic count: the
baseline is the rate while active. It knows no season; the line must leave room for one.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class Line:
    """Where too much begins."""

    ratio: float
    deviations: float
    floor: float


@dataclass(frozen=True)
class Baseline:
    """`known` steps made it; below the minimum history it must not be used."""

    median: float
    sigma: float
    known: int

    def limit(self, line: Line) -> float:
        return max(self.median * line.ratio, self.median + line.deviations * self.sigma, self.median + line.floor)


def learn(steps: Iterable[tuple[float, bool]], line: Line, min_history: int, keep: int) -> Baseline:
    """From (rate, whether a remedy was in force) in order of time, the latest `keep` clean steps."""
    window: deque[float] = deque()
    order: list[float] = []
    for rate, remedied in steps:
        if remedied or (len(order) >= min_history and _over(rate, order, line)):
            continue
        window.append(rate)
        insort(order, rate)
        if len(window) > keep:
            del order[bisect_left(order, window.popleft())]
    return Baseline(median=_median(order), sigma=_sigma(order), known=len(order))


def _over(rate: float, order: list[float], line: Line) -> bool:
    median = _median(order)
    if rate <= max(median * line.ratio, median + line.floor):
        return False  # the spread, which is slow to get, cannot bring the line down
    return rate > median + line.deviations * _sigma(order)


def _median(order: list[float]) -> float:
    if not order:
        return 0.0
    middle = len(order) // 2
    return order[middle] if len(order) % 2 else (order[middle - 1] + order[middle]) / 2


def _sigma(order: list[float]) -> float:
    median = _median(order)
    return MAD_TO_SIGMA * _median(sorted(abs(rate - median) for rate in order))
