"""What incidents leave on record of the specialists behind them, through the whole graph in simulated time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.testbed.authority import an_operator, entries
from tests.testbed.grants import grant, policy
from tests.testbed.simulated import WHO, Simulation, open_simulation

from watchkeeper.agents.incidents import Request, Status
from watchkeeper.agents.manifest import manifest_digest
from watchkeeper.core.actions import Intent
from watchkeeper.core.decisions import DecisionRecord
from watchkeeper.core.entries import EntryType
from watchkeeper.core.ids import IncidentId, PlanId
from watchkeeper.core.subjects import Scope
from watchkeeper.core.trust import Credit, Grounds, Origin, TrustOutcome
from watchkeeper.policies import load as policies
from watchkeeper.policies.trust.standing import Standing

pytestmark = pytest.mark.timeout(300)

REMEDIATOR, DIAGNOSER = "remediator/litellm", "diagnoser/gateway"


@pytest.fixture
async def sim(tmp_path: Path) -> AsyncIterator[Simulation]:
    async with open_simulation(tmp_path, seed=3) as made:
        await made.go(60)
        yield made


async def scored(sim: Simulation) -> list[tuple[str, Origin, Credit, Grounds]]:
    found = await entries(sim.parts.store, EntryType.TRUST_OUTCOME)
    return [(each.agent, each.origin, each.credit, each.grounds) for each in found if isinstance(each, TrustOutcome)]


async def bounds(sim: Simulation) -> list[float | None]:
    """What each decision was told."""
    found = await entries(sim.parts.store, EntryType.DECISION)
    return [each.input.trust_lower_bound for each in found if isinstance(each, DecisionRecord)]


def loop(sim: Simulation, looping: bool = True) -> None:
    sim.traffic.caller("research").looping = looping


async def in_shadow(sim: Simulation, tmp_path: Path) -> None:
    given = grant("throttle-runaway-caller", ["throttle"], ["key"], environment="sim", service="*")
    given["spec"]["autonomy"] = "shadow"
    file = tmp_path / "shadow.yaml"
    file.write_text(policy(given))
    await sim.parts.versions.activate(policies.load(file), WHO, "shadow")


async def standing(sim: Simulation) -> Standing:
    found = await sim.parts.crew.trust.standings({REMEDIATOR: manifest_digest(REMEDIATOR)})
    (only,) = found
    return only


def credit(grounds: Grounds, agent: str = REMEDIATOR) -> tuple[str, Origin, Credit, Grounds]:
    counts = Credit.SUCCESS if grounds is Grounds.RECOVERED else Credit.FAILURE
    return agent, Origin.ALONE, counts, grounds


async def test_a_recovery_that_lasts_credits_diagnoser_and_remediator_and_the_next_decision_knows(
    sim: Simulation,
) -> None:
    loop(sim)
    await sim.go(16)
    loop(sim, False)
    await sim.go(90)
    assert [each.resolution for each in await sim.incidents()] == ["recovered"]
    assert await scored(sim) == [credit(Grounds.RECOVERED, DIAGNOSER), credit(Grounds.RECOVERED)]
    await sim.go(120)
    loop(sim)
    await sim.go(20)
    assert await bounds(sim) == [None, pytest.approx(0.05**0.5, abs=1e-5)]
    assert await sim.ledger_holds()


async def test_a_relapse_while_it_is_given_back_debits_the_remediator_alone(sim: Simulation) -> None:
    loop(sim)
    await sim.go(75)
    found = await scored(sim)
    assert found == [credit(Grounds.RECOVERED, DIAGNOSER), credit(Grounds.RELAPSED)]
    loop(sim, False)
    await sim.go(120)
    assert [each.status for each in await sim.incidents()] == [Status.CLOSED]
    assert await scored(sim) == found, "a failure is not taken back by the end"


async def test_a_relapse_after_the_end_takes_the_success_back(sim: Simulation) -> None:
    loop(sim)
    await sim.go(16)
    loop(sim, False)
    await sim.go(60)
    assert (await scored(sim))[-1] == credit(Grounds.RECOVERED)
    loop(sim)
    await sim.go(16)
    assert [each.relapses for each in await sim.incidents()] == [1, 0]
    assert (await scored(sim))[2] == credit(Grounds.RELAPSED)
    assert (await bounds(sim))[-1] == 0.0


async def test_an_undo_by_a_person_is_a_failure(sim: Simulation) -> None:
    loop(sim)
    await sim.go(10)
    (incident,) = await sim.incidents()
    await sim.parts.crew.incidents.ask(incident.id, Request.UNDO, an_operator())
    await sim.go(6)
    assert credit(Grounds.UNDONE) in await scored(sim)
    assert await sim.parts.crew.remedies.in_force() == ()


async def test_what_lasts_in_shadow_is_known_not_to_heal_by_itself(sim: Simulation, tmp_path: Path) -> None:
    await in_shadow(sim, tmp_path)
    loop(sim)
    await sim.go(40)
    assert await scored(sim) == [], "it is scored when it ends"
    loop(sim, False)
    await sim.go(30)
    assert [each.status for each in await sim.incidents()] == [Status.CLOSED]
    assert await scored(sim) == [(REMEDIATOR, Origin.SHADOW, Credit.FAILURE, Grounds.NOT_RECOVERED)]
    assert await sim.parts.crew.trust.bound([(await standing(sim)).key]) is None
    assert (await standing(sim)).untreated.rate == 0.0


async def test_what_heals_by_itself_in_shadow_in_time_is_recovered_untreated(sim: Simulation, tmp_path: Path) -> None:
    await in_shadow(sim, tmp_path)
    loop(sim)
    await sim.go(8)
    loop(sim, False)
    await sim.go(40)
    assert await scored(sim) == [(REMEDIATOR, Origin.SHADOW, Credit.SUCCESS, Grounds.RECOVERED)]
    assert (await standing(sim)).untreated.rate == 1.0
    assert sim.effects() == {}


async def test_what_a_person_closes_in_shadow_before_its_time_tells_nothing(sim: Simulation, tmp_path: Path) -> None:
    await in_shadow(sim, tmp_path)
    loop(sim)
    await sim.go(10)
    (incident,) = await sim.incidents()
    await sim.closing.close(incident.id, an_operator(), "dealt with")
    assert await scored(sim) == [(REMEDIATOR, Origin.SHADOW, Credit.NOTHING, Grounds.NOT_VERIFIED)]


async def earned(sim: Simulation, digest: str) -> None:
    """Thirty recoveries of the action on which the tests act, with this make of the remediator."""
    at = sim.clock.now()
    outcomes = (
        TrustOutcome(
            agent=REMEDIATOR,
            manifest_digest=digest,
            runbook="throttle-runaway-caller",
            intent=Intent.THROTTLE,
            scope=Scope(environment="sim", service=sim.traffic.caller("research").service),
            incident=IncidentId("inc_before"),
            plan=PlanId(f"pln_before_{number}"),
            step=0,
            origin=Origin.APPROVED,
            credit=Credit.SUCCESS,
            grounds=Grounds.RECOVERED,
            at=at,
        )
        for number in range(30)
    )
    async with sim.parts.store.write() as tx:
        await sim.parts.crew.trust.record(tx, outcomes)


@pytest.mark.parametrize("current", [True, False])
async def test_a_floor_is_reached_by_what_this_make_of_the_agent_has_earned_alone(
    sim: Simulation, tmp_path: Path, current: bool
) -> None:
    """A remediator whose modules changed has earned nothing, whatever its name."""
    given = grant("throttle-runaway-caller", ["throttle"], ["key"], environment="sim", service="*")
    given["spec"]["trustFloor"] = 0.85
    file = tmp_path / "floor.yaml"
    file.write_text(policy(given))
    await sim.parts.versions.activate(policies.load(file), WHO, "floor")
    await earned(sim, manifest_digest(REMEDIATOR) if current else "sha256:before it was changed")
    loop(sim)
    await sim.go(12)
    assert await bounds(sim) == [pytest.approx(0.907885) if current else None]
    assert bool(sim.effects()) == current
    waiting = await sim.parts.crew.approvals.pending()
    assert bool(waiting) != current
