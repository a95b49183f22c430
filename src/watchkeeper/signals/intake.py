"""The one way in for signals: make them durable, then say that the inbox grew.

The bus is only a bell. If it is full or closed the sender is not told: the signals are safe, and readers look into the
inbox by themselves too. While the database, the ledger or the clock cannot be trusted the sender is refused, and the
signals are seen in memory alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.bus.contract import Bus, BusClosedError, BusFullError
from watchkeeper.core.errors import StoreError, UnavailableError
from watchkeeper.core.signals import Signal
from watchkeeper.signals.handles import Handles
from watchkeeper.signals.inbox import Accepted, Inbox, refuse_unstorable

log = structlog.get_logger(__name__)

TOPIC = "signals.inbox"
KEY = "inbox"


class Trusted(Protocol):
    """The daemon's own health."""

    @property
    def acting(self) -> bool: ...
    @property
    def why(self) -> str: ...
    def now(self) -> datetime: ...
    def distrust(self, code: str) -> bool: ...
    def blind(self, signals: Sequence[Signal]) -> Sequence[Signal]: ...


class Intake:
    def __init__(
        self,
        inbox: Inbox,
        bus: Bus,
        health: Trusted,
        blind: Callable[[Sequence[Signal], datetime], None],
        handles: Handles | None = None,
    ) -> None:
        self._handles = handles
        self._inbox, self._bus, self._health, self._blind = inbox, bus, health, blind

    async def accept(self, source: str, signals: Sequence[Signal]) -> Accepted:
        """Returns once the signals are durable. Raises UnavailableError, and stores nothing, if they cannot be."""
        refuse_unstorable(signals)
        if self._handles is not None:
            signals = self._handles.applied(signals)
        if not self._health.acting:
            self._see_blind(source, signals)
            raise UnavailableError(
                f"signals from {source} were not taken: {self._health.why}",
                cause="the database, the ledger or the clock cannot be trusted (invariant 11)",
                next_step="send again later; watchkeeper status says when recording is possible again",
            )
        try:
            accepted = await self._inbox.accept(source, signals)
        except StoreError as error:
            self._health.distrust(error.code)
            self._see_blind(source, signals)
            raise
        if accepted.new:
            await self.ring(accepted.offset)
        return accepted

    async def put(self, tx: AsyncConnection, signal: Signal) -> int:
        """Makes a change of our own durable with what it tells of; `ring` its offset once that is committed."""
        return await self._inbox.put(tx, signal)

    def _see_blind(self, source: str, signals: Sequence[Signal]) -> None:
        log.warning("signals_seen_blind", source=source, signals=len(signals))
        self._blind(self._health.blind(signals), self._health.now())

    async def ring(self, offset: int) -> None:
        """Tells the readers that the inbox has grown so far."""
        try:
            await self._bus.publish(TOPIC, KEY, str(offset).encode(), f"{TOPIC}/{offset}")
        except (BusFullError, BusClosedError) as error:
            log.warning("inbox_bell_not_rung", offset=offset, why=error.code)
