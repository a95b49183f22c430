"""`stop --then-undo`, through the whole graph in simulated time: a stop freezes us, a person's order puts back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.testbed.authority import an_operator, entries
from tests.testbed.simulated import Simulation, open_simulation

from watchkeeper.agents.incidents import Status
from watchkeeper.agents.stopping import AGAIN_S, Came, Stopping, StopUndo
from watchkeeper.core.entries import EntryType, Escalated, OrderRecorded
from watchkeeper.core.ids import OrderId
from watchkeeper.lab.gateway.faults import AdminFault, FaultMode

pytestmark = pytest.mark.timeout(300)
OLGA, OTTO = an_operator("olga"), an_operator("otto")


@pytest.fixture
async def sim(tmp_path: Path) -> AsyncIterator[Simulation]:
    """A throttled caller that goes on looping, its remedy in force."""
    async with open_simulation(tmp_path, seed=3) as made:
        await made.go(60)
        made.traffic.caller("research").looping = True
        await made.go(30)
        assert limit_of(made) is not None
        yield made


def limit_of(sim: Simulation) -> int | None:
    return sim.lab.gateway.store.keys[sim.traffic.caller("research").key].rpm_limit


def stopping(sim: Simulation) -> Stopping:
    crew = sim.parts.crew
    return Stopping(sim.parts.store, crew.incidents, crew.stops, sim.parts.clock)


async def go(sim: Simulation, seconds: int) -> None:
    """As the daemon's job does it, beside the incidents."""
    for _ in range(0, seconds, 2):
        await stopping(sim).run_once()
        await sim.go(2)


async def stop(sim: Simulation) -> OrderId:
    report = await sim.parts.crew.epochs.stop("all", OLGA, then_undo=True)
    assert report.undo is not None
    return report.undo


async def came(sim: Simulation, order: OrderId) -> list[tuple[Came, str]]:
    found: StopUndo = await stopping(sim).results(order)
    return [(each.came, each.why) for each in found.results]


async def told(sim: Simulation) -> list[str]:
    found = await entries(sim.parts.store, EntryType.ESCALATION)
    return [each.reason for each in found if isinstance(each, Escalated)]


async def test_what_stood_half_done_is_put_back_under_the_persons_name_and_all_stays_stopped(sim: Simulation) -> None:
    order = await stop(sim)
    assert await came(sim, order) == [(Came.WAITING, "")]
    await go(sim, 10)
    assert await came(sim, order) == [(Came.UNDONE, "")]
    assert limit_of(sim) is None
    ordered = [each for each in await entries(sim.parts.store, EntryType.ORDER) if isinstance(each, OrderRecorded)]
    assert [(each.by, each.stop) for each in ordered] == [(OLGA, order)]
    sim.traffic.caller("research").looping = True
    await go(sim, 60)
    assert limit_of(sim) is None, "the stop still stands"
    assert [scope.stopped for scope in await sim.parts.crew.epochs.status()] == [True]
    assert set(sim.effects().values()) == {1}
    assert await sim.ledger_holds()


async def test_invariant_2_a_stop_alone_freezes_release_and_undo_of_the_daemon_itself(sim: Simulation) -> None:
    before = limit_of(sim)
    await sim.parts.crew.epochs.stop("all", OLGA)
    sim.traffic.caller("research").looping = False
    await go(sim, 200)  # long past hold, release and the remedy's way back
    assert limit_of(sim) == before
    assert len(sim.effects()) == 1
    assert {each.removeprefix("undo_").removeprefix("release_") for each in await told(sim)} == {"stopped"}


async def test_what_the_target_does_not_take_is_tried_again_and_its_reason_is_told(sim: Simulation) -> None:
    sim.lab.gateway.switch.set(AdminFault(mode=FaultMode.BROKEN, applies_to="writes"))
    order = await stop(sim)
    await go(sim, 30)
    ((state, why),) = await came(sim, order)
    assert (state, why) == (Came.WAITING, "observed_absent")
    sim.lab.gateway.switch.set(AdminFault(mode=FaultMode.NONE))
    await go(sim, int(AGAIN_S) + 60)
    assert await came(sim, order) == [(Came.UNDONE, "")]
    assert limit_of(sim) is None


async def test_what_never_takes_it_is_given_up_after_a_bounded_number_of_tries(sim: Simulation) -> None:
    sim.lab.gateway.switch.set(AdminFault(mode=FaultMode.BROKEN, applies_to="writes"))
    order = await stop(sim)
    await go(sim, 400)
    ((state, why),) = await came(sim, order)
    assert (state, why) == (Came.NOT_UNDONE, "observed_absent")
    asked = len(await entries(sim.parts.store, EntryType.ORDER))
    await go(sim, 60)
    assert len(await entries(sim.parts.store, EntryType.ORDER)) == asked == 6


async def test_a_value_that_is_no_longer_ours_is_not_touched(sim: Simulation) -> None:
    keys, token = sim.lab.gateway.store.keys, sim.traffic.caller("research").key
    keys[token] = keys[token].model_copy(update={"rpm_limit": 7})
    order = await stop(sim)
    await go(sim, 10)
    assert await came(sim, order) == [(Came.NOT_UNDONE, "changed")]
    assert limit_of(sim) == 7


async def test_invariant_2_a_later_stop_of_another_person_ends_the_order(sim: Simulation) -> None:
    before = limit_of(sim)
    order = await stop(sim)
    await sim.parts.crew.epochs.stop("environment:sim", OTTO)
    await go(sim, 60)
    assert await came(sim, order) == [(Came.NOT_UNDONE, "stopped")]
    assert limit_of(sim) == before
    assert len(sim.effects()) == 1


async def test_an_order_that_nobody_has_asked_yet_is_found_after_a_crash(sim: Simulation) -> None:
    """The stop's commit is all there is: the request that gave it ended with the process."""
    order = await stop(sim)
    assert await entries(sim.parts.store, EntryType.ORDER) == []
    (incident,) = await sim.incidents()
    assert incident.order_id is None
    assert await stopping(sim).run_once() == 1
    assert await stopping(sim).run_once() == 0, "it is asked once, not with every turn"
    await sim.go(6)
    assert await came(sim, order) == [(Came.UNDONE, "")]
    assert (await sim.incidents())[0].status is Status.ESCALATED
