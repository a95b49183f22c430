"""Drives incidents through the graph: one at a time each, several side by side, across crashes and restarts.

An incident is driven only under its lease, so that two processes never run one thread. A run goes on until the graph
waits or ends; what it waits for is written to the incident's row, and a poll or a wake-up resumes it.
An incident whose run keeps failing is retried with growing pauses and, after `MAX_ERRORS`, handed over to a person. A
database or ledger that fails is no failure of the incident: it stops all acting, and the incident waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command

from watchkeeper.agents.graph import DUE, thread
from watchkeeper.agents.incidents import Incident, Incidents
from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import ConflictError, LedgerError, StoreError, UnavailableError, WatchkeeperError
from watchkeeper.core.ids import IncidentId
from watchkeeper.store import leases
from watchkeeper.store.engine import Store
from watchkeeper.store.leases import Lease

log = structlog.get_logger(__name__)

LEASE_S = 30.0
MAX_ERRORS = 5
MAX_PAUSE_S = 900.0
UNAVAILABLE_S = 5.0
MAX_SIDE_BY_SIDE = 8

GraphFor = Callable[[IncidentId, Lease], CompiledStateGraph[Any, Any, Any, Any]]
"""Makes the graph whose nodes write under this lease."""


class Runner:
    def __init__(
        self,
        store: Store,
        incidents: Incidents,
        clock: Clock,
        graph_for: GraphFor,
        holder: str,
        on_stuck: Callable[[Incident, str], Awaitable[None]],
        distrust: Callable[[str], object],
    ) -> None:
        self._store, self._incidents, self._clock = store, incidents, clock
        self._graph_for, self._holder = graph_for, holder
        self._on_stuck, self._distrust = on_stuck, distrust
        self._running: dict[IncidentId, asyncio.Task[None]] = {}

    async def run_due(self) -> int:
        """Starts every incident that is due and not already running here; returns how many were started."""
        started = 0
        for incident in await self._incidents.due(self._clock.now()):
            if len(self._running) >= MAX_SIDE_BY_SIDE:
                break
            if incident.id not in self._running:
                task = asyncio.create_task(self._drive(incident), name=f"incident {incident.id}")
                self._running[incident.id] = task
                task.add_done_callback(partial(self._done, incident.id))
                started += 1
        return started

    def _done(self, incident: IncidentId, task: asyncio.Task[None]) -> None:
        self._running.pop(incident, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("incident_run_failed", incident=incident, exc_info=error)

    async def settle(self) -> None:
        """Waits until no incident is being driven here."""
        while self._running:
            await asyncio.wait(list(self._running.values()))

    async def close(self) -> None:
        """Stops driving; what was in the middle goes on from its last step at the next start."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _drive(self, incident: Incident) -> None:
        with structlog.contextvars.bound_contextvars(incident=incident.id):
            try:
                lease = await self._lease(incident.id)
                if lease is not None:
                    await self._under(lease, incident)
            except UnavailableError as error:
                self._unavailable(error)  # it stays due; the next poll tries again

    async def _under(self, lease: Lease, incident: Incident) -> None:
        keeper = asyncio.create_task(self._keep(lease), name=f"lease of {incident.id}")
        try:
            until, seen = await self._advance(incident, lease)
            await self._incidents.sleep(seen, until)
        except ConflictError as error:
            if await self._still_ours(lease):
                await self._failed(incident, error)
            else:
                log.warning("incident_handed_over", why=error.what)
        except UnavailableError as error:  # ours, not the incident's: it does not count as a failure of it
            self._unavailable(error)
            await self._incidents.sleep(incident, self._in(UNAVAILABLE_S), errors=incident.errors)
        except Exception as error:  # whatever fails, the incident is tried again or told to a person
            await self._failed(incident, error)
        finally:
            keeper.cancel()
            await self._release(lease)

    async def _advance(self, incident: Incident, lease: Lease) -> tuple[datetime | None, Incident]:
        """Runs the graph as far as it goes. Returns when it wants to be resumed, and the incident with the last order
        that it was given."""
        graph, config = self._graph_for(incident.id, lease), thread(incident.id)
        before = await graph.aget_state(config)
        given: Any = None
        if not before.created_at:
            given = {"incident": incident.id, "next": "triage"}
        elif before.interrupts:
            given = Command(resume=incident.order_id or DUE)
        elif not before.tasks:  # `next` leaves out a node whose writes are kept and whose checkpoint a crash took
            raise WatchkeeperError(
                f"the graph of {incident.id} has ended, the incident has not",
                cause="a node named a successor that the graph does not have",
                next_step=f"watchkeeper ledger show {incident.id}",
            )
        while True:
            await graph.ainvoke(given, config, durability="sync")
            after = await graph.aget_state(config)
            if not after.interrupts:
                return None, incident
            now = await self._incidents.get(incident.id)
            if now.order_id is None or (isinstance(given, Command) and now.order_id == incident.order_id):
                return datetime.fromisoformat(after.interrupts[0].value["until"]), incident
            incident, given = now, Command(resume=now.order_id)

    async def _failed(self, incident: Incident, error: Exception) -> None:
        errors = incident.errors + 1
        what = error.what if isinstance(error, WatchkeeperError) else type(error).__name__
        log.error("incident_step_failed", errors=errors, what=what, exc_info=error)
        if errors == MAX_ERRORS:
            await self._on_stuck(incident, what)
        wait = min(MAX_PAUSE_S, 2.0 ** min(errors, 16))
        await self._incidents.sleep(incident, self._in(wait), errors=errors)

    def _unavailable(self, error: UnavailableError) -> None:
        log.warning("incident_put_off", what=error.what)
        if isinstance(error, StoreError | LedgerError):
            self._distrust(error.code)

    def _in(self, seconds: float) -> datetime:
        return self._clock.now() + timedelta(seconds=seconds)

    async def _lease(self, incident: IncidentId) -> Lease | None:
        async with self._store.write() as tx:
            return await leases.acquire(tx, f"incident:{incident}", self._holder, self._clock.now(), LEASE_S)

    async def _still_ours(self, lease: Lease) -> bool:
        try:
            async with self._store.write() as tx:
                await leases.check(tx, lease)
        except ConflictError:
            return False
        return True

    async def _keep(self, lease: Lease) -> None:
        """Renews the lease for as long as the run lasts. A renewal that fails is tried again: it is not lost before
        another has it."""
        while True:
            await asyncio.sleep(LEASE_S / 3)
            try:
                async with self._store.write() as tx:
                    renewed = await leases.acquire(tx, lease.name, lease.holder, self._clock.now(), LEASE_S)
            except UnavailableError as error:
                self._unavailable(error)
                continue
            if renewed is None or renewed.token != lease.token:
                log.warning("incident_lease_lost", lease=lease.name)
                return

    async def _release(self, lease: Lease) -> None:
        try:
            async with self._store.write() as tx:
                await leases.release(tx, lease, self._clock.now())
        except UnavailableError as error:
            log.warning("incident_lease_not_released", what=error.what)  # it runs out by itself
