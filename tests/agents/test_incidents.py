"""What the database keeps of incidents: opened and joined with their entries, relapses counted, requests taken."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import insert
from tests.testbed.authority import an_operator, entries
from tests.testbed.findings import OTHER_KEY, loop, spike

from watchkeeper.agents.incidents import Incident, Incidents, Request, Status
from watchkeeper.agents.tables import incident as incidents
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.entries import EntryType, IncidentOpened, OrderKind, OrderRecorded
from watchkeeper.core.errors import ConflictError, NotFoundError
from watchkeeper.core.findings import Finding
from watchkeeper.core.ids import FindingId, IncidentId
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.store.engine import Store

CALM = timedelta(minutes=30)


class Book:
    """The incidents of one store; every finding is a new one, though its fingerprint be known."""

    def __init__(self, store: Store) -> None:
        self.store, self.clock, self._made = store, ManualClock(), 0
        self.ledger = Ledger(store, self.clock, source="test", writer="w")
        self.incidents = Incidents(store, self.ledger, Evidence(store, clock=self.clock), self.clock)

    async def opened(self, finding: Finding) -> Incident:
        self._made += 1
        new = finding.model_copy(update={"id": FindingId(f"fnd_{self._made}")})
        return await self.incidents.get(await self.incidents.open(new, b"{}"))

    async def joined(self, incident: Incident, finding: Finding) -> None:
        self._made += 1
        new = finding.model_copy(update={"id": FindingId(f"fnd_{self._made}")})
        await self.incidents.join(incident.id, new, b"{}")

    async def closed(self, incident: Incident, *, calm: timedelta | None = CALM) -> None:
        calm_at = None if calm is None else self.clock.now() + calm
        async with self.store.write() as tx:
            await self.incidents.close(tx, incident.id, "recovered", relapses=incident.relapses, calm_at=calm_at)


@pytest.fixture
def book(store: Store) -> Book:
    return Book(store)


async def test_an_incident_is_due_at_once_and_its_opening_is_recorded(book: Book) -> None:
    incident = await book.opened(loop())
    assert [each.id for each in await book.incidents.due(book.clock.now())] == [incident.id]
    recorded = await entries(book.store, EntryType.INCIDENT_OPENED, EntryType.FINDING)
    assert [type(each).__name__ for each in recorded] == ["IncidentOpened", "FindingRecorded"]
    (finding,) = await book.incidents.findings(incident.id)
    assert finding.evidence, "the state that it was found in is kept"


async def test_invariant_12_a_trouble_that_is_soon_back_is_a_relapse_of_the_incident_before(book: Book) -> None:
    first = await book.opened(loop())
    await book.closed(first)
    book.clock.advance(CALM.total_seconds() - 1)
    second = await book.opened(loop())
    assert (first.relapses, second.relapses) == (0, 1)
    await book.closed(second)
    third = await book.opened(loop())
    assert third.relapses == 2
    recorded = await entries(book.store, EntryType.INCIDENT_OPENED)
    opened = [each for each in recorded if isinstance(each, IncidentOpened)]
    assert [(each.relapse_of, each.relapses) for each in opened] == [(None, 0), (first.id, 1), (second.id, 2)]


async def test_any_finding_of_the_incident_before_counts(book: Book) -> None:
    first = await book.opened(loop())
    await book.joined(first, spike())
    await book.closed(first)
    assert (await book.opened(spike())).relapses == 1


@pytest.mark.parametrize("way", ["calm long enough", "nothing was done", "still open", "another subject"])
async def test_what_is_no_relapse(book: Book, way: str) -> None:
    first = await book.opened(spike())
    if way != "still open":
        await book.closed(first, calm=None if way == "nothing was done" else CALM)
    if way == "calm long enough":
        book.clock.advance(CALM.total_seconds())
    second = await book.opened(spike(OTHER_KEY) if way == "another subject" else spike())
    assert second.relapses == 0


async def test_a_request_wakes_the_incident_and_is_taken_up_once(book: Book) -> None:
    incident = await book.opened(loop())
    await book.incidents.sleep(incident, None)
    assert await book.incidents.due(book.clock.now()) == ()
    await book.incidents.ask(incident.id, Request.UNDO, an_operator())
    (due,) = await book.incidents.due(book.clock.now())
    assert (due.request, due.requested_by) == (Request.UNDO, an_operator())
    async with book.store.write() as tx:
        assert due.order_id is not None
        await book.incidents.answered(tx, incident.id, due.order_id)
    assert (await book.incidents.get(incident.id)).request is Request.NONE


async def test_who_ordered_what_is_in_the_ledger(book: Book) -> None:
    incident = await book.opened(loop())
    await book.incidents.ask(incident.id, Request.UNDO, an_operator("olga"))
    waiting = await book.incidents.get(incident.id)
    (ordered,) = await entries(book.store, EntryType.ORDER)
    assert isinstance(ordered, OrderRecorded)
    assert (ordered.order, ordered.kind, ordered.by) == (waiting.order_id, OrderKind.UNDO, an_operator("olga"))


async def test_an_order_that_is_given_while_another_is_taken_up_waits_its_turn(book: Book) -> None:
    incident = await book.opened(loop())
    await book.incidents.ask(incident.id, Request.UNDO, an_operator("one"))
    first = (await book.incidents.get(incident.id)).order_id
    assert first is not None
    await book.incidents.ask(incident.id, Request.UNDO, an_operator("two"))
    async with book.store.write() as tx:
        await book.incidents.answered(tx, incident.id, first)
    left = await book.incidents.get(incident.id)
    assert (left.request, left.requested_by) == (Request.UNDO, an_operator("two"))


@pytest.mark.parametrize("how", ["an answer", "an order"])
async def test_what_woke_an_incident_while_it_was_looked_at_is_not_slept_over(book: Book, how: str) -> None:
    seen = await book.opened(loop())
    book.clock.advance(1)
    if how == "an answer":
        async with book.store.write() as tx:
            await book.incidents.wake(tx, seen.id)
    else:
        await book.incidents.ask(seen.id, Request.UNDO, an_operator())
    await book.incidents.sleep(seen, None)
    (woken,) = await book.incidents.due(book.clock.now())
    await book.incidents.sleep(woken, None)
    assert await book.incidents.due(book.clock.now()) == (), "what was looked at is not looked at for ever"


async def test_more_open_incidents_than_a_page_are_all_known(book: Book) -> None:
    now = book.clock.now()
    words = dict.fromkeys(("environment", "service", "subject", "fingerprint"), "x")
    rows = [
        {"id": f"inc_{n}", "status": "open", "mode": "runaway_loop", "severity": "info", "opened": now, "updated": now}
        for n in range(1001)
    ]
    async with book.store.write() as tx:
        await tx.execute(insert(incidents), [row | words for row in rows])
    assert await book.incidents.count_open() == 1001
    assert len(await book.incidents.open_now()) == 1001


async def test_a_closed_or_unknown_incident_takes_no_request(book: Book) -> None:
    incident = await book.opened(loop())
    await book.closed(incident)
    for each in (incident.id, IncidentId("inc_none")):
        with pytest.raises(ConflictError, match="closed or unknown"):
            await book.incidents.ask(each, Request.UNDO, an_operator())
    with pytest.raises(NotFoundError):
        await book.incidents.get(IncidentId("inc_none"))
    assert [each.status for each in await book.incidents.list(include_closed=True)] == [Status.CLOSED]
    assert await book.incidents.list() == ()
