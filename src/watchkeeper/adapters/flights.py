"""Which calls of this process may still land: sent, and not yet answered, or given up a moment ago.

A target that was slow may carry out a call after we stopped waiting for it; until `settle_s` after that, "it is not
there" must not be read as "it did not happen". The memory is this process's own: across a crash the claim's grace does
the same.
"""

from __future__ import annotations

import math

from watchkeeper.core.clock import Clock
from watchkeeper.core.ids import ActionKey

MAX_FLIGHTS = 10_000


class Flights:
    def __init__(self, clock: Clock, settle_s: float) -> None:
        self._clock, self._settle_s = clock, settle_s
        self._until: dict[ActionKey, float] = {}

    def sent(self, key: ActionKey) -> None:
        """The call leaves now."""
        now = self._clock.monotonic()
        if len(self._until) >= MAX_FLIGHTS:
            self._until = {known: until for known, until in self._until.items() if until > now}
        self._until[key] = math.inf

    def answered(self, key: ActionKey) -> None:
        """The target has answered, or surely never got it: nothing of it can land any more."""
        self._until.pop(key, None)

    def given_up(self, key: ActionKey) -> None:
        """We stopped waiting for what was sent; the target may still be at it."""
        if key in self._until:
            self._until[key] = self._clock.monotonic() + self._settle_s

    def may_land(self, key: ActionKey) -> bool:
        return self._until.get(key, -math.inf) > self._clock.monotonic()
