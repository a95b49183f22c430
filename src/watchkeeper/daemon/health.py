"""May we act? Not while the database, the ledger or the clock cannot be trusted (invariant 11).

This is the state alone: who meets a failure says so here, at once; `Trust` tells people, looks whether it is over, and
records the gap. It guards the decision to act; claims check anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import structlog

from watchkeeper.core.clock import Clock
from watchkeeper.core.entries import WatchGap
from watchkeeper.core.signals import Signal
from watchkeeper.daemon.wall import Wall

log = structlog.get_logger(__name__)

MAX_KNOWN = 50_000
"""Signals remembered so that one that is sent again is counted once; beyond it each delivery counts."""


class Health:
    def __init__(self, clock: Clock) -> None:
        self.wall = Wall(clock)
        """The time to go by, also while the clock cannot be believed."""
        self._why = ""
        self._since: datetime | None = None
        self._known: set[int] = set()
        self._seen = 0

    @property
    def acting(self) -> bool:
        """Reads the clock each time: who asks right after a jump is told so."""
        if not self._why and (fault := self.wall.fault()):
            self.distrust(fault)
        return not self._why

    @property
    def why(self) -> str:
        return self._why

    @property
    def since(self) -> datetime | None:
        return self._since

    def now(self) -> datetime:
        return self.wall.now()

    def distrust(self, code: str) -> bool:
        """Stops acting for this reason; True the first time."""
        if self._why:
            return False
        self._why, self._since = code, self.wall.now()
        log.error("acting_stopped", why=code)
        return True

    def blind(self, signals: Sequence[Signal]) -> list[Signal]:
        """Counts signals that were seen and not made durable; returns those that were not seen in this time before."""
        fresh = []
        for signal in signals:
            name = hash((signal.source, signal.id))
            if name not in self._known:
                fresh.append(signal)
                if len(self._known) < MAX_KNOWN:
                    self._known.add(name)
        self._seen += len(fresh)
        return fresh

    def gap(self) -> WatchGap:
        """The blind time up to now that is not on record yet."""
        now = self.wall.now()
        since = self._since or now
        return WatchGap(since=since, until=max(now, since), reason=self._why, signals_seen=self._seen)

    def recorded(self, gap: WatchGap) -> None:
        """The gap is on record; what is still to come counts from its end."""
        self._since, self._seen = gap.until, self._seen - gap.signals_seen

    def resume(self) -> None:
        """Goes on acting. What was refused since the recorded gap's end is being sent again."""
        log.warning("acting_resumed", why=self._why)
        self._why, self._since, self._seen = "", None, 0
        self._known.clear()
