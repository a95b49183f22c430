"""Sums over time: the inner cell of whole numbers, and the tally that others read.

Cells hold integers only (thousandths of calls, nano-dollars), so that any order of additions and subtractions gives
the same bytes. Latency is a histogram whose bins grow by a tenth: a percentile is exact to 10 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from watchkeeper.core.signals import ErrorClass

# the places of a cell
PRIMARY, SEEN, CALLS, SERVED, TOKENS, COST, ESTIMATED, UNPLACED, JUDGED, REFUSED = range(10)
ERROR: dict[str, int] = {error.value: place for place, error in enumerate(ErrorClass, start=10)}
WIDTH = 10 + len(ERROR)

WEIGHT = 1000
"""One call, in thousandths: a sampled one stands for more."""
NANO = 1_000_000_000
_LOG_GROWTH = math.log(1.1)

Deltas = tuple[tuple[int, int], ...]
"""(place, amount) of what one call adds."""
StepSums = tuple[int, int, int, int]
"""Calls, tokens, cost and sampled calls."""


class Cell:
    """The sums of one bucket. `latency` maps a bin to thousandths of calls."""

    __slots__ = ("latency", "sums")

    def __init__(self) -> None:
        self.sums = [0] * WIDTH
        self.latency: dict[int, int] = {}

    def add(self, deltas: Deltas, latency: int, sign: int) -> None:
        sums = self.sums
        for place, amount in deltas:
            sums[place] += sign * amount
        if latency >= 0:
            left = self.latency.get(latency, 0) + sign * WEIGHT
            if left:
                self.latency[latency] = left
            else:
                del self.latency[latency]

    def merge(self, other: Cell) -> None:
        for place, amount in enumerate(other.sums):
            self.sums[place] += amount
        for latency, count in other.latency.items():
            self.latency[latency] = self.latency.get(latency, 0) + count


def latency_bin(duration_us: int) -> int:
    return 0 if duration_us <= 1000 else math.ceil(math.log(duration_us / 1000) / _LOG_GROWTH)


def _bin_top_s(latency: int) -> float:
    return math.exp(latency * _LOG_GROWTH) / 1000


@dataclass(frozen=True)
class Tally:
    """What happened to a subject over some time. Counts are scaled up from samples; `seen` is what was reported."""

    seen: int = 0
    judged: int = 0
    """Reported calls that were served or failed by the provider's fault."""
    refused: int = 0
    """Reported calls that limits, authentication or something unnamed kept from being served."""
    calls: float = 0.0
    served: float = 0.0
    errors: tuple[tuple[ErrorClass, float], ...] = ()
    tokens: int = 0
    cost_usd: float = 0.0
    unplaced: float = 0.0
    """Provider faults that name no deployment."""
    estimated: bool = False
    latency: tuple[tuple[int, int], ...] = ()

    @property
    def provider_errors(self) -> float:
        return math.fsum(count for error, count in self.errors if error.provider_fault)

    def error(self, kind: ErrorClass) -> float:
        return next((count for error, count in self.errors if error is kind), 0.0)

    @property
    def provider_error_ratio(self) -> float | None:
        """Provider faults among the calls that reached a provider; None where none did."""
        reached = self.served + self.provider_errors
        return self.provider_errors / reached if reached > 0 else None

    def slower_than(self, seconds: float) -> float:
        """Served calls whose bin lies wholly above; exact to 10 %, in favour of the call."""
        return sum(count for latency, count in self.latency if _bin_top_s(latency - 1) >= seconds) / WEIGHT

    def latency_s(self, share: float) -> float | None:
        """The upper edge of the bin in which `share` of the served calls lies."""
        total = sum(count for _, count in self.latency)
        below = 0
        for latency, count in self.latency:
            below += count
            if below >= share * total:
                return _bin_top_s(latency)
        return None


@dataclass(frozen=True)
class StepSum:
    """What a baseline is made of."""

    start: datetime
    calls: float
    tokens: int
    cost_usd: float
    estimated: bool


def step_sum(start: datetime, sums: StepSums) -> StepSum:
    calls, tokens, cost, estimated = sums
    return StepSum(start=start, calls=calls / WEIGHT, tokens=tokens, cost_usd=cost / NANO, estimated=estimated > 0)


def tally_of(cells: Iterable[Cell]) -> Tally:
    total = Cell()
    for cell in cells:
        total.merge(cell)
    sums = total.sums
    return Tally(
        seen=sums[SEEN],
        judged=sums[JUDGED],
        refused=sums[REFUSED],
        calls=sums[CALLS] / WEIGHT,
        served=sums[SERVED] / WEIGHT,
        errors=tuple((error, sums[ERROR[error.value]] / WEIGHT) for error in ErrorClass if sums[ERROR[error.value]]),
        tokens=sums[TOKENS],
        cost_usd=sums[COST] / NANO,
        unplaced=sums[UNPLACED] / WEIGHT,
        estimated=sums[ESTIMATED] > 0,
        latency=tuple(sorted(total.latency.items())),
    )
