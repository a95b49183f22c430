"""From distrust back to trust: tells people once, looks with growing pauses whether recording works, records the gap.

Acting resumes only after the clock is believed, no witness speaks against the log, the gap's own entry was written, and
the log has taken it up: a real write and a real turn of the sequencer. Soon after a return the pauses go on growing, so
that a fault that comes and goes does not make us act, stop and call people every second. It does not repair anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

import structlog

from watchkeeper.agents.outbox import Notice, Outbox
from watchkeeper.core.clock import Clock
from watchkeeper.core.entries import Draft, EntryType
from watchkeeper.core.errors import UnavailableError
from watchkeeper.core.ids import EntryId, IncidentId
from watchkeeper.daemon.health import Health
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.reader import LogReader
from watchkeeper.ledger.sequencer import Sequencer
from watchkeeper.store.engine import Store

log = structlog.get_logger(__name__)

CHECK_S = 1.0
"""How often `check` is to be called."""
FIRST_S, LONGEST_S = 1.0, 60.0
"""The first pause before a try, and the longest."""
CALM_S = 300.0
"""How long we must have acted again for the pauses to begin anew."""
LOOKS, LOOK_S = 6, 0.5
"""How often to look whether the gap's entry is in the log: another replica may hold the sequencer's lease."""


class Trust:
    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        sequencer: Sequencer,
        entries: LogReader,
        health: Health,
        outbox: Outbox,
        clock: Clock,
        environment: str,
        vouch: Callable[[], Awaitable[None]],
    ) -> None:
        self._store, self._ledger, self._sequencer, self._entries = store, ledger, sequencer, entries
        self._health, self._outbox, self._clock, self._environment = health, outbox, clock, environment
        self._vouch = vouch
        self._distrusted = self._told = False
        self._since: datetime | None = None
        self._wait = FIRST_S
        self._next_try = 0.0
        self._resumed = clock.monotonic()

    async def check(self) -> None:
        """To be called every `CHECK_S`."""
        now = self._clock.monotonic()
        if self._health.acting:
            if now - self._resumed >= CALM_S:
                self._wait = FIRST_S
            return
        if not self._distrusted:
            self._distrusted, self._told, self._since = True, False, self._health.since
            self._next_try = now + self._wait
            await self._tell()
        elif now >= self._next_try:
            self._wait = min(2 * self._wait, LONGEST_S)
            self._next_try = now + self._wait
            await self._tell()
            await self._try()

    async def _try(self) -> None:
        if self._health.wall.fault():
            return
        try:
            recorded = await self._recorded()
        except UnavailableError as error:
            log.warning("still_not_trusted", what=error.what, next_try_s=self._wait)
            return
        if recorded:
            why = self._health.why
            self._health.resume()
            self._distrusted, self._resumed = False, self._clock.monotonic()
            async with self._store.write() as tx:
                await self._outbox.put(tx, self._notice("acting_resumed", why, self._clock.now()))

    async def _recorded(self) -> bool:
        """The gap is written, and in the log. What waited before goes first: a broken log gets no further entry, and
        one that a witness speaks against is not signed on."""
        await self._vouch()
        while await self._sequencer.run_once():
            continue
        gap = self._health.gap()
        async with self._store.write() as tx:
            (entry,) = await self._ledger.append(tx, Draft(type=EntryType.GAP, subject="", data=gap))
        self._health.recorded(gap)
        return await self._in_the_log(entry)

    async def _in_the_log(self, entry: EntryId) -> bool:
        for look in range(LOOKS):
            if look:
                await asyncio.sleep(LOOK_S)
            await self._sequencer.run_once()
            if await self._entries.by_id(entry) is not None:
                return True
        return False

    async def _tell(self) -> None:
        """Past the outbox, which needs the database; until somebody was told, and then no more."""
        if not self._told:
            at = self._since or self._health.now()
            self._told = await self._outbox.tell_directly(self._notice("acting_stopped", self._health.why, at))

    def _notice(self, kind: str, reason: str, at: datetime) -> Notice:
        return Notice(
            incident=IncidentId("watchkeeper"),
            kind=kind,
            reason=reason,
            service="watchkeeper",
            environment=self._environment,
            mode="self",
            subject="daemon",
            at=at,
            commands=("watchkeeper status",),
        )
