"""Real incidents of all three failure modes, through the whole loop: every finding, diagnosis and decision that it
recorded is made again, the same byte for byte (invariant 8)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.testbed.simulated import Simulation, open_simulation

from watchkeeper.agents import recompute
from watchkeeper.core.entries import EntryType, FindingRecorded
from watchkeeper.core.findings import FailureMode
from watchkeeper.core.signals import ErrorClass
from watchkeeper.ledger.replays.replay import Recomputers, ReplayReport, replay_log
from watchkeeper.policies.replay.decisions import decision_recomputer

MODES = {FailureMode.RUNAWAY_LOOP, FailureMode.PROVIDER_OUTAGE, FailureMode.COST_SPIKE}


async def replayed(sim: Simulation) -> ReplayReport:
    policies = await sim.parts.versions.every()
    known = Recomputers()
    known.register(EntryType.DECISION, decision_recomputer(policies.__getitem__))
    recompute.register(known)
    return await replay_log(sim.parts.log.iterate(), known, sim.parts.crew.evidence.get)


async def modes(sim: Simulation) -> set[FailureMode]:
    found = [entry.envelope.typed() async for entry in sim.parts.log.iterate(types=(EntryType.FINDING,))]
    return {each.finding.mode for each in found if isinstance(each, FindingRecorded)}


@pytest.mark.timeout(400)
async def test_invariant_8_what_the_whole_loop_found_and_concluded_is_made_again_the_same(
    tmp_path: Path, store_url: str
) -> None:
    async with open_simulation(tmp_path, seed=3, database=store_url, floor_usd_per_min=0.1) as sim:
        await sim.go(60)
        sim.traffic.fail = lambda deployment, rng: ErrorClass.SERVER if deployment == "dep-a" else None
        await sim.go(30)
        sim.traffic.fail = lambda deployment, rng: None
        await sim.go(60)
        sim.traffic.caller("research").looping = True
        await sim.go(30)
        sim.traffic.caller("research").looping = False
        sim.traffic.caller("support").cost *= 30
        await sim.go(40)
        assert await sim.ledger_holds()
        assert await modes(sim) == MODES
        report = await replayed(sim)
    counts = {each.kind: each for each in report.kinds}
    assert report.ok
    assert report.not_recomputable == ()
    assert counts[EntryType.FINDING].matched >= len(MODES)
    assert counts[EntryType.DIAGNOSIS].matched >= 2
    assert counts[EntryType.DECISION].matched >= 1
