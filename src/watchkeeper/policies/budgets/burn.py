"""The arithmetic of error budgets. Pure.

With a target of 99.5 % the budget is 0.5 % of the period's events. A burn rate is the share of bad events in a window
over that: at 1 the budget lasts for just the period (Google's SRE workbook, chapter 5, "Alerting on SLOs"). Where
nothing happened nothing was spent. What was not watched is unknown, never good: a window of which more than a tenth was
not watched has no rate, and a budget that was watched for less than a tenth of its period has no remainder.
"""

from __future__ import annotations

from typing import NamedTuple

LEAST_WATCHED = 0.9
LEAST_OF_PERIOD = 0.1


class Sums(NamedTuple):
    """Of some time: events, and how many of its buckets were watched."""

    bad: float
    total: float
    watched: int

    @property
    def share(self) -> float:
        """Of bad events; 0 where nothing happened."""
        return 0.0 if self.total <= 0 else min(1.0, self.bad / self.total)


def burn_rate(sums: Sums, target: float, buckets: int) -> float | None:
    """Of a window of so many buckets; None: too little of it was watched."""
    if sums.watched < LEAST_WATCHED * buckets:
        return None
    return sums.share / (1 - target)


def remaining(sums: Sums, target: float, buckets: int) -> float | None:
    """The share of the budget that is left, of what was watched of the period; negative where more was spent."""
    if sums.watched < LEAST_OF_PERIOD * buckets:
        return None
    return 1 - sums.share / (1 - target)
