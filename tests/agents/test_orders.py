"""A person's word on an incident, through the whole graph in simulated time: the undo, the second undo, the close."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.testbed.authority import a_person, an_operator, entries
from tests.testbed.simulated import Simulation, open_simulation

from watchkeeper.agents.incidents import Incident, Request, Status
from watchkeeper.core.entries import EntryType, Escalated, IncidentClosed, OrderKind, OrderRecorded
from watchkeeper.core.errors import ConflictError, ForbiddenError
from watchkeeper.core.principals import PrincipalKind, Role
from watchkeeper.lab.gateway.faults import AdminFault, FaultMode

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
async def sim(tmp_path: Path) -> AsyncIterator[Simulation]:
    """A throttled caller that goes on looping, its remedy in force."""
    async with open_simulation(tmp_path, seed=3) as made:
        await made.go(60)
        made.traffic.caller("research").looping = True
        await made.go(30)
        assert await held(made) == 1
        yield made


async def the_incident(sim: Simulation) -> Incident:
    (found,) = await sim.incidents()
    return found


async def held(sim: Simulation) -> int:
    return len(await sim.parts.crew.remedies.in_force())


async def told(sim: Simulation) -> list[str]:
    found = await entries(sim.parts.store, EntryType.ESCALATION)
    return [each.reason for each in found if isinstance(each, Escalated)]


async def undo(sim: Simulation, who: str = "olga") -> None:
    await sim.parts.crew.incidents.ask((await the_incident(sim)).id, Request.UNDO, an_operator(who))


async def test_an_undo_that_failed_for_good_can_be_ordered_again_and_is_told_each_time(sim: Simulation) -> None:
    sim.lab.gateway.switch.set(AdminFault(mode=FaultMode.BROKEN, applies_to="writes"))
    for n in (1, 2):
        await undo(sim)
        await sim.go(60)
        assert await told(sim) == ["undo_failed"] * n
        assert await held(sim) == 1
    sim.lab.gateway.switch.set(AdminFault(mode=FaultMode.NONE))
    await undo(sim)
    await sim.go(10)
    assert await held(sim) == 0
    assert sim.lab.gateway.store.keys[sim.traffic.caller("research").key].rpm_limit is None
    assert set(sim.effects().values()) == {1}
    assert (await told(sim))[-1] == "undone_by_person"
    assert await sim.ledger_holds()


async def test_an_undo_under_a_stop_is_refused_and_works_after_it(sim: Simulation) -> None:
    everybody = an_operator()
    await sim.parts.crew.epochs.stop("all", everybody)
    await undo(sim, "ann")
    await sim.go(10)
    assert (await told(sim), (await the_incident(sim)).request) == (["undo_stopped"], Request.NONE)
    await sim.parts.crew.epochs.resume("all", everybody)
    await undo(sim, "bob")
    await sim.go(10)
    assert await held(sim) == 0
    left = await the_incident(sim)
    assert (left.request, left.order_id, left.status) == (Request.NONE, None, Status.ESCALATED)
    assert left.id not in {each.id for each in await sim.parts.crew.incidents.due(sim.clock.now())}, "it spins"
    ordered = await entries(sim.parts.store, EntryType.ORDER)
    assert [(each.kind, each.by.id) for each in ordered if isinstance(each, OrderRecorded)] == [
        (OrderKind.UNDO, "ann"),
        (OrderKind.UNDO, "bob"),
    ]


async def test_a_person_closes_what_cannot_show_itself_gone(sim: Simulation) -> None:
    incident = (await the_incident(sim)).id
    with pytest.raises(ConflictError, match=r"is (holding|verifying|acting)"):
        await sim.closing.close(incident, an_operator(), "enough")
    await sim.parts.crew.epochs.stop("all", an_operator())
    await undo(sim)
    await sim.go(10)
    with pytest.raises(ConflictError, match="still in force"):
        await sim.closing.close(incident, an_operator(), "enough")
    await sim.parts.crew.epochs.resume("all", an_operator())
    await undo(sim)
    await sim.go(10)
    with pytest.raises(ForbiddenError, match="may not close"):
        await sim.closing.close(incident, a_person("bot", Role.ADMIN, kind=PrincipalKind.SERVICE), "enough")
    closed = await sim.closing.close(incident, an_operator("olga"), "the caller was shut down for good")
    assert (closed.status, closed.resolution) == (Status.CLOSED, "closed_by_person")
    ordered = (await entries(sim.parts.store, EntryType.ORDER))[-1]
    assert isinstance(ordered, OrderRecorded)
    assert (ordered.kind, ordered.by, ordered.incident) == (OrderKind.CLOSE, an_operator("olga"), incident)
    assert ordered.comment is not None
    said = await sim.parts.evidence.get(ordered.comment.commitment)
    assert said == b"the caller was shut down for good"
    (ended,) = await entries(sim.parts.store, EntryType.INCIDENT_CLOSED)
    assert ended == IncidentClosed(incident=incident, resolution="closed_by_person")
    with pytest.raises(ConflictError, match="is closed"):
        await sim.closing.close(incident, an_operator(), "again")
    sim.traffic.caller("research").looping = False
    await sim.go(20)
    assert (await sim.parts.crew.incidents.get(incident)).status is Status.CLOSED
    assert await sim.ledger_holds()
