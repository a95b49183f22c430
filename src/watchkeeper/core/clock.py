"""Where time comes from. Logic takes a `Clock`; only the composition root makes a `SystemClock`.

A clock promises UTC wall time and a monotonic count. It does not promise that wall time never steps back:
whoever signs or claims must check that (invariant 11).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """Aware UTC wall time."""
        ...

    def monotonic(self) -> float:
        """Seconds on a scale that never goes back."""
        ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that moves only when told; for tests, drills and simulated time."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed = timedelta()

    def now(self) -> datetime:
        return self._start + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed.total_seconds()

    def advance(self, seconds: float) -> None:
        self._elapsed += timedelta(seconds=seconds)

    def step_wall(self, seconds: float) -> None:
        """Moves wall time alone, as an NTP step or an operator would."""
        self._start += timedelta(seconds=seconds)
