"""Can the wall clock be believed? Not when it has left where the monotonic clock says it should be, either way.

A step back would sign and claim in the past; a jump forward would expire every approval and every remedy at once. A new
time is believed when it has gone on steadily for `SETTLE_S` and lies beyond all time that was believed before: by then
people have been told, and a machine that slept shows the true time. Slow drift, as NTP slews it, is not noticed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from watchkeeper.core.clock import Clock

TOLERANCE = timedelta(seconds=2)
"""A leap second, or NTP's last step, is no reason to stop."""
SETTLE_S = 300.0
REBASE_S = 60.0
"""How long one comparison is kept: what drifts less than the tolerance in this time is borne."""

WENT_BACK, JUMPED = "clock_went_back", "clock_jumped_forward"


@dataclass(frozen=True)
class _Base:
    """Where wall time stood at one monotonic instant."""

    wall: datetime
    mono: float

    def at(self, mono: float) -> datetime:
        return self.wall + timedelta(seconds=mono - self.mono)


class Wall:
    """A `Clock` for those who must go on looking while the wall clock is wrong, and the judge of it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._base = _Base(clock.now(), clock.monotonic())
        self._new: _Base | None = None
        """The time that the clock shows since it left ours."""
        self._believed = self._base.wall
        """The latest time believed when it left."""

    def fault(self) -> str:
        """Empty, or why the wall clock cannot be believed now."""
        before, wall, after = self._clock.monotonic(), self._clock.now(), self._clock.monotonic()
        if self._base.at(before) - TOLERANCE <= wall <= self._base.at(after) + TOLERANCE:
            self._new = None
            if after - self._base.mono >= REBASE_S:
                self._base = _Base(wall, after)
            return ""
        if self._settled(wall, before, after):
            self._base, self._new = _Base(wall, after), None
            return ""
        return WENT_BACK if wall < self._base.at(before) else JUMPED

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def now(self) -> datetime:
        """Wall time; while that cannot be believed, what it would be without its step."""
        if self.fault():
            return self._base.at(self._clock.monotonic())
        return self._clock.now()

    def _settled(self, wall: datetime, before: float, after: float) -> bool:
        if self._new is None:
            self._believed = self._base.at(before)
        if self._new is None or not self._new.at(before) - TOLERANCE <= wall <= self._new.at(after) + TOLERANCE:
            self._new = _Base(wall, after)
        return after - self._new.mono >= SETTLE_S and wall >= self._believed
