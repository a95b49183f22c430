"""Whole loop in simulated time: who may send spans cannot have somebody else's key throttled without a person."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tests.testbed.simulated import open_simulation
from tests.testbed.traffic import at, span

from watchkeeper.core.signals import SpanOp


async def test_a_forged_loop_on_anothers_key_waits_for_a_person_and_touches_nothing(tmp_path: Path) -> None:
    async with open_simulation(tmp_path, seed=3) as sim:
        await sim.go(80)
        victim = sim.traffic.caller("research")
        claim = partial(span, run="forged", agent="evil", service=victim.service)
        for n in range(40):
            when = at(sim.traffic.second + n / 100)
            sim.parts.crew.signals.apply(claim(f"t{n}", when, SpanOp.TOOL, tool="x", digest="same"), when)
            forged = claim(f"m{n}", when, SpanOp.MODEL, key=victim.key, call_id=f"forged-{n}", tokens=9)
            sim.parts.crew.signals.apply(forged, when)
        victim.runs_per_s = 8  # so much traffic of its own that a throttle would find its breach
        await sim.go(20)
        (incident,) = [each for each in await sim.incidents() if each.subject == "agent:evil"]
        assert incident.status == "awaiting_approval"
        assert not sim.effects()
