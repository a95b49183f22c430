"""One piece of long work at a time, in this process and over all of them: a lease that is renewed on the way.

The lease's loss is noticed at the next renewal, or in the transaction that asks `check`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import ConflictError
from watchkeeper.store import leases
from watchkeeper.store.engine import Store
from watchkeeper.store.leases import Lease

LEASE_S = 120.0


class Turn:
    """`what` names the work for people: "archive", "pruning of entries"."""

    def __init__(self, store: Store, clock: Clock, name: str, holder: str, what: str) -> None:
        self._store, self._clock = store, clock
        self._name, self._holder, self._what = name, holder, what
        self._lock = asyncio.Lock()
        self._lease: Lease | None = None

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Raises ConflictError while another is at it."""
        if self._lock.locked():
            raise self._busy()
        async with self._lock:
            await self.renew()
            try:
                yield
            finally:
                await self._release()

    async def renew(self) -> None:
        async with self._store.write() as tx:
            lease = await leases.acquire(tx, self._name, self._holder, self._clock.now(), LEASE_S)
        if lease is None:
            raise self._busy()
        self._lease = lease

    async def check(self, tx: AsyncConnection) -> None:
        """Raises ConflictError if the work has passed to another process since."""
        assert self._lease is not None, "hold it first"
        await leases.check(tx, self._lease)

    async def _release(self) -> None:
        if self._lease is not None:
            async with self._store.write() as tx:
                await leases.release(tx, self._lease, self._clock.now())
            self._lease = None

    def _busy(self) -> ConflictError:
        return ConflictError(
            f"another {self._what} is at work",
            cause="the daily one, or another person's; the turn of one that died ends by itself",
            next_step="try again in two minutes",
        )
