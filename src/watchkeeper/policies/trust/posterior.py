"""The Beta posterior over verified outcomes: decay, what a sparse scope borrows, and the bound that gates read.

Pure. The lower bound is rounded down, never above the observed rate, and None where nothing is kept at any level.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from math import ceil, floor
from typing import NamedTuple

from watchkeeper.policies.trust.beta import quantile
from watchkeeper.policies.trust.terms import Terms

_DECIMALS = 1_000_000


class Tally(NamedTuple):
    """Successes and failures, each weighed by its age."""

    successes: float = 0.0
    failures: float = 0.0

    @property
    def n(self) -> float:
        return self.successes + self.failures

    @property
    def rate(self) -> float | None:
        """None: there is nothing to take a share of."""
        return self.successes / self.n if self.n else None

    def plus(self, other: Tally) -> Tally:
        return Tally(self.successes + other.successes, self.failures + other.failures)

    def at_most(self, n: float) -> Tally:
        """Of the same rate, and no more than `n`."""
        part = 0.0 if n <= 0 or not self.n else min(1.0, n / self.n)
        return Tally(self.successes * part, self.failures * part)


class Levels(NamedTuple):
    """The outcomes of one (agent, action): of the scope itself, of the environment's other services, of the other
    environments. No outcome is in two of them."""

    own: Tally = Tally()
    siblings: Tally = Tally()
    elsewhere: Tally = Tally()


def weight(at: datetime, now: datetime, terms: Terms) -> float:
    """Of an outcome by its age. One that says it is of the future is of now."""
    age = max(timedelta(), now - at)
    return float(0.5 ** (age / timedelta(days=terms.half_life_days)))


def borrowed(levels: Levels, terms: Terms) -> Tally:
    """What the scope lacks to `terms.borrowed`, from its environment, which borrows from the others in the same way."""
    lent = levels.elsewhere.at_most(terms.borrowed - levels.siblings.n)
    return levels.siblings.plus(lent).at_most(terms.borrowed - levels.own.n)


def lower_bound(levels: Levels, terms: Terms) -> float | None:
    """The chance of success that is reached with `terms.confidence`; the prior is one success and one failure."""
    lent = borrowed(levels, terms)
    seen = levels.own if levels.own.n else lent
    if seen.rate is None:
        return None
    known = levels.own.plus(lent)
    reached = quantile(1 - terms.confidence, 1 + known.successes, 1 + known.failures)
    return floor(min(reached, seen.rate) * _DECIMALS) / _DECIMALS


def upper_bound(tally: Tally, terms: Terms) -> float | None:
    """The chance that is not exceeded with `terms.confidence`. Nothing is borrowed; None where nothing was seen."""
    if tally.rate is None:
        return None
    reached = quantile(terms.confidence, 1 + tally.successes, 1 + tally.failures)
    return ceil(max(reached, tally.rate) * _DECIMALS) / _DECIMALS
