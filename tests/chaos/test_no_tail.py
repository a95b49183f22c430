"""No chasing of its own tail, and no oscillation: fifty faults in simulated time, through the whole loop."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.simulated import open_simulation
from watchkeeper.agents.incidents import Status

CYCLES = 50


@pytest.mark.timeout(400)
async def test_invariant_12_fifty_faults_are_fifty_incidents_with_one_throttle_and_one_release_each(
    tmp_path: Path,
) -> None:
    """The 429s of our own limit make no second incident; a remedy that was given back is not put on again."""
    async with open_simulation(tmp_path, seed=3) as sim:
        await sim.go(60)
        agent = sim.traffic.caller("research")
        for cycle in range(1, CYCLES + 1):
            refused = sim.refused
            agent.looping = True
            await sim.go(30)
            assert sim.refused > refused, "it was not throttled"
            agent.looping = False
            for _ in range(20):
                await sim.go(10)
                incidents = await sim.incidents()
                if incidents[0].status is Status.CLOSED:
                    break
            assert len(incidents) == cycle
            assert incidents[0].status is Status.CLOSED
            assert incidents[0].resolution == "recovered"
            assert sum(sim.effects().values()) == 2 * cycle
        assert set(sim.effects().values()) == {1}
        assert sim.lab.gateway.store.keys[agent.key].rpm_limit is None
        assert await sim.ledger_holds()
