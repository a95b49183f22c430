"""No chasing of its own tail, no oscillation: faults that come and go, in simulated time, through the whole loop."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.testbed.simulated import Simulation, open_simulation

from watchkeeper.agents.incidents import Status
from watchkeeper.core.signals import ErrorClass

APART = 10
CYCLES = 50
MAX_RELAPSES = 3
CALM_S = 60


async def _closed(sim: Simulation) -> None:
    for _ in range(20):
        await sim.go(10)
        if (await sim.incidents())[0].status is Status.CLOSED:
            return
    raise AssertionError("it was not closed")


@pytest.mark.timeout(400)
async def test_invariant_12_faults_far_apart_have_one_throttle_and_one_release_each(tmp_path: Path) -> None:
    """The 429s of our own limit make no second incident; a remedy that was given back is not put on again."""
    async with open_simulation(tmp_path, seed=3) as sim:
        await sim.go(60)
        agent = sim.traffic.caller("research")
        for cycle in range(1, APART + 1):
            refused = sim.refused
            agent.looping = True
            await sim.go(30)
            assert sim.refused > refused, "it was not throttled"
            agent.looping = False
            await _closed(sim)
            incidents = await sim.incidents()
            assert len(incidents) == cycle
            assert (incidents[0].resolution, incidents[0].relapses) == ("recovered", 0)
            assert sum(sim.effects().values()) == 2 * cycle
            await sim.go(CALM_S)
        assert set(sim.effects().values()) == {1}
        assert sim.lab.gateway.store.keys[agent.key].rpm_limit is None
        assert await sim.ledger_holds()


@pytest.mark.timeout(400)
async def test_invariant_12_a_provider_that_fails_fifty_times_is_not_followed_up_and_down(tmp_path: Path) -> None:
    """The traffic is given back ever later; at last it stays with the provider that works, and a person decides."""
    async with open_simulation(tmp_path, seed=5) as sim:
        await sim.go(60)
        for _ in range(CYCLES):
            sim.traffic.fail = lambda deployment, rng: ErrorClass.SERVER if deployment == "dep-a" else None
            await sim.go(30)
            sim.traffic.fail = lambda deployment, rng: None
            await sim.go(50)
        incidents = await sim.incidents()
        assert incidents[0].status is Status.ESCALATED
        assert set(sim.effects().values()) == {1}
        assert sum(sim.effects().values()) <= 2 * (2 * (MAX_RELAPSES + 1) + 1), "two deployments a fail-over"
        assert sim.weights() == {"dep-a": 0.0, "dep-b": 1.0}
        assert await sim.ledger_holds()


@pytest.mark.timeout(400)
async def test_invariant_12_a_fault_that_returns_fifty_times_is_not_followed_up_and_down(tmp_path: Path) -> None:
    """Each return doubles the hold, over the ends of incidents too; at last the limit stays and a person decides."""
    async with open_simulation(tmp_path, seed=4) as sim:
        await sim.go(60)
        agent = sim.traffic.caller("research")
        for _ in range(CYCLES):
            refused = sim.refused
            agent.looping = True
            await sim.go(30)
            assert sim.refused > refused, "it was not throttled"
            agent.looping = False
            await sim.go(50)
        incidents = await sim.incidents()
        counted = [each.relapses for each in reversed(incidents)]
        assert counted == sorted(set(counted)), "a relapse was forgotten"
        assert incidents[0].status is Status.ESCALATED
        assert set(sim.effects().values()) == {1}
        assert sum(sim.effects().values()) <= 2 * (MAX_RELAPSES + 1) + 1
        assert await sim.ledger_holds()
