"""How long the hook took, of the last calls: so that the bound it promises can be read on the gateway itself."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

KEPT = 4096


@dataclass(frozen=True)
class Quantiles:
    """Milliseconds."""

    count: int
    least: float
    p50: float
    p99: float
    most: float


class Timings:
    """The last calls, in nanoseconds."""

    def __init__(self) -> None:
        self._kept: deque[int] = deque(maxlen=KEPT)
        self._seen = 0

    def add(self, nanoseconds: int) -> None:
        self._kept.append(nanoseconds)
        self._seen += 1

    def quantiles(self) -> Quantiles:
        kept = sorted(self._kept.copy())
        if not kept:
            return Quantiles(0, 0.0, 0.0, 0.0, 0.0)
        p50, p99 = (kept[min(len(kept) - 1, int(len(kept) * share))] for share in (0.5, 0.99))
        return Quantiles(self._seen, kept[0] / 1e6, p50 / 1e6, p99 / 1e6, kept[-1] / 1e6)
