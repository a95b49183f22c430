"""From the inbox into the signal state, in order, across restarts.

The state is kept as a snapshot with the inbox offset it stands for; a restart restores it and reads on from there. The
bus only says that the inbox grew: a lost or repeated message is harmless, as long as somebody also looks by himself now
and then (the daemon's job does).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

import structlog
from sqlalchemy import delete, insert, select

from watchkeeper.agents.tables import detector_state
from watchkeeper.bus.contract import Bus, Message
from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import InputError
from watchkeeper.core.signals import Signal
from watchkeeper.signals.inbox import Inbox
from watchkeeper.signals.intake import TOPIC
from watchkeeper.signals.state import SignalState
from watchkeeper.store.engine import Store

log = structlog.get_logger(__name__)

BATCH = 2000
GROUP = "detector"


class Pump:
    def __init__(self, store: Store, inbox: Inbox, bus: Bus, signals: SignalState, clock: Clock) -> None:
        self._store, self._inbox, self._bus = store, inbox, bus
        self._signals, self._clock = signals, clock
        self._reading = asyncio.Lock()
        self.offset = 0
        self.saved_offset = 0
        """Up to here a restart does not need the inbox any more."""

    async def restore(self) -> None:
        """Takes up the last snapshot; one that this configuration cannot read is left, and the inbox read anew."""
        async with self._store.read() as tx:
            row = (await tx.execute(select(detector_state).where(detector_state.c.name == GROUP))).one_or_none()
        if row is not None:
            try:
                self._signals.restore(row.snapshot)
                self.offset = self.saved_offset = row.inbox_offset
            except InputError as error:
                log.warning("signal_state_not_restored", what=error.what)
        await self.catch_up()

    async def catch_up(self) -> int:
        """Applies everything that the inbox holds beyond our offset; returns how many signals.

        A signal that cannot be applied is passed over at the next call: one must not hold up all that follow.
        """
        applied = 0
        async with self._reading:
            while batch := await self._inbox.after(self.offset, BATCH):
                for offset, received, signal in batch:
                    self.offset = offset
                    self._signals.apply(signal, received)
                applied += len(batch)
        return applied

    def bells(self) -> AsyncIterator[Message]:
        """One for each time the inbox grew, for as long as the bus is open; to be acknowledged after reading."""
        return self._bus.subscribe(TOPIC, GROUP)

    def apply_blind(self, signals: Sequence[Signal], received: datetime) -> None:
        """What could not be made durable is still looked at, in memory only (invariant 11)."""
        for signal in signals:
            self._signals.apply(signal, received)

    async def save(self) -> None:
        """Keeps the state and its offset, in one transaction."""
        offset, body = self.offset, self._signals.snapshot()
        async with self._store.write() as tx:
            await tx.execute(delete(detector_state).where(detector_state.c.name == GROUP))
            await tx.execute(
                insert(detector_state).values(name=GROUP, inbox_offset=offset, snapshot=body, at=self._clock.now())
            )
        self.saved_offset = offset
