"""The one way in for signals: make them durable, then say that the inbox grew.

The bus is only a bell. If it is full or closed the sender is not told: the signals are safe, and readers look into the
inbox by themselves too. While the database is down the sender is refused, and the signals are seen in memory alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from watchkeeper.bus.contract import Bus, BusClosedError, BusFullError
from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import StoreError
from watchkeeper.core.signals import Signal
from watchkeeper.signals.inbox import Accepted, Inbox

log = structlog.get_logger(__name__)

TOPIC = "signals.inbox"
KEY = "inbox"


class Intake:
    def __init__(self, inbox: Inbox, bus: Bus, clock: Clock, blind: Callable[[Sequence[Signal]], object]) -> None:
        self._inbox, self._bus, self._clock, self._blind = inbox, bus, clock, blind

    async def accept(self, source: str, signals: Sequence[Signal]) -> Accepted:
        """Returns once the signals are durable. Raises UnavailableError, and stores nothing, if they cannot be."""
        try:
            accepted = await self._inbox.accept(source, signals)
        except StoreError:
            log.warning("signals_seen_blind", source=source, signals=len(signals))
            self._blind(signals)
            raise
        if accepted.new:
            await self._ring(accepted.offset)
        return accepted

    async def _ring(self, offset: int) -> None:
        try:
            await self._bus.publish(TOPIC, KEY, str(offset).encode(), f"{TOPIC}/{offset}")
        except (BusFullError, BusClosedError) as error:
            log.warning("inbox_bell_not_rung", offset=offset, why=error.code)
