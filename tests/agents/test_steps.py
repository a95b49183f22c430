"""A step is taken once, and only by the holder of the incident's lease."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.testbed.authority import an_operator

from watchkeeper.agents.incidents import Incidents, Request, Status
from watchkeeper.agents.records import Noted
from watchkeeper.agents.steps import Steps
from watchkeeper.agents.tables import incident, notification
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.entries import Draft, EntryType, IncidentClosed
from watchkeeper.core.errors import ConflictError
from watchkeeper.core.ids import IncidentId
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.store import leases
from watchkeeper.store.engine import Store
from watchkeeper.store.leases import Lease
from watchkeeper.store.schema import upgrade

INCIDENT = IncidentId("inc_1")


async def an_incident(store: Store, clock: ManualClock) -> Lease:
    now = clock.now()
    words = ("status", "environment", "service", "mode", "severity", "subject", "fingerprint")
    async with store.write() as tx:
        await tx.execute(insert(incident).values(id=INCIDENT, opened=now, updated=now, **dict.fromkeys(words, "x")))
        lease = await leases.acquire(tx, f"incident:{INCIDENT}", "one", now, 30)
    assert lease is not None
    return lease


class Step:
    """Counts how often it was thought about; its write leaves a row."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.thought = clock, 0

    async def compute(self) -> Noted:
        self.thought += 1
        return Noted(at=self.clock.now(), note=f"thought {self.thought}")

    async def write(self, tx: AsyncConnection, noted: Noted) -> None:
        now = self.clock.now()
        row = {"incident": INCIDENT, "sink": "s", "dedup": noted.note, "body": "", "state": "sent"}
        await tx.execute(insert(notification).values(**row, at=now, next_try=now))


async def rows(store: Store) -> list[str]:
    async with store.read() as tx:
        return [row.dedup for row in await tx.execute(select(notification.c.dedup))]


async def test_a_second_run_gets_the_first_ones_result_and_writes_nothing(store: Store) -> None:
    clock = ManualClock()
    steps, step = Steps(store, clock, INCIDENT, await an_incident(store, clock)), Step(clock)
    first = await steps.once("plan/0", Noted, step.compute, step.write)
    again = await steps.once("plan/0", Noted, step.compute, step.write)
    assert first == again
    assert await rows(store) == ["thought 1"]
    assert await steps.recorded("plan/0", Noted) == first
    assert await steps.recorded("plan/1", Noted) is None


async def test_a_step_whose_write_fails_was_not_taken(store: Store) -> None:
    clock = ManualClock()
    steps, step = Steps(store, clock, INCIDENT, await an_incident(store, clock)), Step(clock)

    async def failing(tx: AsyncConnection, noted: Noted) -> None:
        await step.write(tx, noted)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await steps.once("plan/0", Noted, step.compute, failing)
    assert await rows(store) == []
    assert (await steps.once("plan/0", Noted, step.compute, step.write)).note == "thought 2"


async def test_whoever_lost_the_lease_can_record_nothing(store: Store) -> None:
    clock = ManualClock()
    steps, step = Steps(store, clock, INCIDENT, await an_incident(store, clock)), Step(clock)
    clock.advance(31)
    async with store.write() as tx:
        assert await leases.acquire(tx, f"incident:{INCIDENT}", "two", clock.now(), 30) is not None
    with pytest.raises(ConflictError):
        await steps.once("plan/0", Noted, step.compute, step.write)
    assert await rows(store) == []
    assert await steps.recorded("plan/0", Noted) is None


async def blocked(store: Store) -> None:
    """Returns when somebody waits for a lock of another transaction."""
    query = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    while True:
        async with store.read() as tx:
            if (await tx.execute(query)).scalar_one():
                return


async def test_a_step_and_an_order_to_its_incident_wait_for_each_other_in_one_order(pg_url: str) -> None:
    """Whoever appends to the ledger first and touches the incident then would stand against an order, which does it
    the other way: PostgreSQL would end one of them, and the daemon would distrust its database."""
    store, clock = Store(pg_url), ManualClock()
    await upgrade(store)
    steps = Steps(store, clock, INCIDENT, await an_incident(store, clock))
    ledger = Ledger(store, clock, source="test", writer="w")
    incidents = Incidents(store, ledger, Evidence(store, clock=clock), clock)
    orders: list[asyncio.Task[None]] = []

    async def compute() -> Noted:
        return Noted(at=clock.now())

    async def write(tx: AsyncConnection, noted: Noted) -> None:
        data = IncidentClosed(incident=INCIDENT, resolution="x")
        await ledger.append(tx, Draft(type=EntryType.INCIDENT_CLOSED, subject=INCIDENT, data=data))
        orders.append(asyncio.create_task(incidents.ask(INCIDENT, Request.UNDO, an_operator())))
        await blocked(store)
        await incidents.set_status(tx, INCIDENT, Status.VERIFYING)

    await steps.once("verify/0/0", Noted, compute, write)
    await asyncio.gather(*orders)
    async with store.read() as tx:
        row = (await tx.execute(select(incident.c.status, incident.c.request))).one()
    assert (row.status, row.request) == ("verifying", "undo")
    await store.close()
