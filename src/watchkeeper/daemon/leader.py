"""Who runs the periodic work when several replicas share one database: whoever holds the scheduler's lease."""

from __future__ import annotations

from watchkeeper.core.clock import Clock
from watchkeeper.store import leases
from watchkeeper.store.engine import Store
from watchkeeper.store.leases import Lease

NAME = "scheduler"
TTL_S = 15.0


class Leader:
    def __init__(self, store: Store, clock: Clock, holder: str) -> None:
        self._store, self._clock, self._holder = store, clock, holder
        self._lease: Lease | None = None
        self._sure_until = 0.0
        """On the monotonic scale: a wall clock that steps back must not make the lease seem longer."""

    async def leads(self) -> bool:
        """True while the lease is ours; asks the database only when less than half of its time is left."""
        mono = self._clock.monotonic()
        if self._lease is not None and mono < self._sure_until:
            return True
        async with self._store.write() as tx:
            self._lease = await leases.acquire(tx, NAME, self._holder, self._clock.now(), TTL_S)
        self._sure_until = mono + TTL_S / 2
        return self._lease is not None

    async def resign(self) -> None:
        if self._lease is not None:
            async with self._store.write() as tx:
                await leases.release(tx, self._lease, self._clock.now())
            self._lease = None
