"""May we act? Not while the database, the ledger or the clock cannot be trusted (invariant 11).

While it is untrusted, senders get 503, detection goes on in memory, and people are told directly; the time in between
is recorded as a gap once recording is possible again. It guards the decision to act; claims check anew.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from watchkeeper.core.clock import Clock
from watchkeeper.core.entries import WatchGap

log = structlog.get_logger(__name__)

BACKWARD_TOLERANCE = timedelta(seconds=1)


class Health:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._why = ""
        self._since: datetime | None = None
        self._seen_blind = 0
        self._wall, self._mono = clock.now(), clock.monotonic()

    @property
    def acting(self) -> bool:
        return not self._why

    @property
    def why(self) -> str:
        return self._why

    @property
    def since(self) -> datetime | None:
        return self._since

    def distrust(self, code: str) -> bool:
        """Stops acting for this reason; True the first time."""
        if self._why:
            return False
        self._why, self._since = code, self._clock.now()
        log.error("acting_stopped", why=code)
        return True

    def blind(self, signals: int) -> None:
        """Counts signals that were seen but could not be made durable."""
        self._seen_blind += signals

    def trust(self) -> WatchGap | None:
        """Goes on acting; returns the gap to record, if there was one."""
        if not self._why or self._since is None:
            return None
        now = self._clock.now()
        gap = WatchGap(since=self._since, until=max(now, self._since), reason=self._why, signals_seen=self._seen_blind)
        log.warning("acting_resumed", why=self._why, signals_seen=self._seen_blind)
        self._why, self._since, self._seen_blind = "", None, 0
        return gap

    def clock_went_back(self) -> bool:
        """True when wall time fell behind where the monotonic clock says it should be."""
        wall, mono = self._clock.now(), self._clock.monotonic()
        expected = self._wall + timedelta(seconds=mono - self._mono)
        if wall < expected - BACKWARD_TOLERANCE:
            return True
        self._wall, self._mono = wall, mono
        return False
