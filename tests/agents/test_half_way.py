"""A plan of several steps that fails half way: what was done is undone, the last step first, and what could not be
undone is said. The gateway's own journal is the judge."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.testbed.authority import entries
from tests.testbed.grants import grant, policy
from tests.testbed.simulated import Simulation, open_simulation

from watchkeeper.agents.incidents import Status
from watchkeeper.agents.outbox import Notice
from watchkeeper.core.entries import EntryType, Escalated
from watchkeeper.core.outcomes import Stays
from watchkeeper.lab.gateway.faults import NO_FAULT, AdminFault, FaultMode

pytestmark = pytest.mark.timeout(300)
NAME = "brake-in-three-steps"
RUNBOOK = f"""
apiVersion: watchkeeper.dev/v1
kind: Runbook
metadata: {{name: {NAME}}}
spec:
  trigger: {{modes: [runaway_loop], subjects: [key, agent, run, service], minConfidence: 0.5}}
  actions:
    - intent: throttle
      target: {{kind: key, select: cause}}
      parameters: {{rpm_limit: {{from: baseline.calls_per_min, times: 1.2, min: 1, round: up}}}}
    - intent: throttle
      target: {{kind: key, select: cause}}
      parameters: {{tpm_limit: {{from: baseline.tokens_per_min, times: 1.5, min: 1, round: up}}}}
    - intent: set_budget
      target: {{kind: key, select: cause}}
      parameters: {{max_budget: {{value: 1000}}}}
  verification:
    sli:
      measure: served_per_min
      subject: target
      op: "<="
      threshold: {{from: baseline.calls_per_min, times: 1.5, min: 2, round: up}}
      window: 8s
      minEvents: 1
    horizons: [10s]
  hold: 20s
  release: {{steps: [1], watch: 12s, maxRelapses: 1}}
  undo: captured
  ttl: 1h
"""
GRANTS = policy(grant(NAME, ["throttle", "set_budget"], ["key"], environment="sim", service="*", ttl="1h"))


@pytest.fixture
async def sim(tmp_path: Path) -> AsyncIterator[Simulation]:
    async with open_simulation(tmp_path, seed=3, runbook=RUNBOOK, grants=GRANTS) as made:
        await made.go(60)
        yield made


def fail_from(sim: Simulation, nth: int, *, healed_after: int = 10**6) -> None:
    """Of the writes to the admin API those from the `nth` on fail, so many of them."""
    writes = 0

    def take(method: str, path: str) -> AdminFault:
        nonlocal writes
        if method in ("GET", "HEAD", "OPTIONS"):
            return NO_FAULT
        writes += 1
        failing = nth <= writes < nth + healed_after
        return AdminFault(mode=FaultMode.BROKEN) if failing else NO_FAULT

    sim.lab.gateway.switch.take = take  # type: ignore[method-assign]


def limits(sim: Simulation) -> tuple[int | None, int | None, float | None]:
    key = sim.lab.gateway.store.keys[sim.traffic.caller("research").key]
    return key.rpm_limit, key.tpm_limit, key.max_budget


async def loop(sim: Simulation, seconds: int = 40) -> None:
    sim.traffic.caller("research").looping = True
    await sim.go(seconds)


async def told(sim: Simulation) -> Escalated:
    (found,) = await entries(sim.parts.store, EntryType.ESCALATION)
    assert isinstance(found, Escalated)
    return found


def done(sim: Simulation) -> list[str]:
    """The phases and steps that had an effect, in the gateway's order."""
    journal = sim.lab.gateway.store.journal.entries()
    keys = [
        each.changed_by for each in journal if each.changed_by.startswith("watchkeeper:") and each.effect is not None
    ]
    return ["/".join(key.split("/")[1:3]) for key in keys]


async def test_invariant_5_a_plan_that_fails_half_way_is_undone_in_reverse_order(sim: Simulation) -> None:
    fail_from(sim, 3, healed_after=1)
    await loop(sim)
    assert done(sim) == ["0/apply", "1/apply", "1/undo", "0/undo"]
    assert limits(sim) == (None, None, None)
    said = await told(sim)
    assert (said.reason, said.half_done, said.not_undone) == ("effect_failed", (), ())


async def test_what_could_not_be_undone_is_said_and_the_rest_is_undone(sim: Simulation) -> None:
    fail_from(sim, 3, healed_after=1)
    crew, key = sim.parts.crew, sim.traffic.caller("research").key
    settled = crew.executor._settle

    async def and_somebody_changes_it(*given: object) -> object:
        outcome = await settled(*given)  # type: ignore[arg-type]
        if outcome.key.endswith("/2/apply"):
            keys = sim.lab.gateway.store.keys
            keys[key] = keys[key].model_copy(update={"tpm_limit": 777_777})
        return outcome

    crew.executor._settle = and_somebody_changes_it  # type: ignore[assignment, method-assign]
    await loop(sim)
    assert done(sim) == ["0/apply", "1/apply", "0/undo"]
    assert limits(sim) == (None, 777_777, None)
    said = await told(sim)
    assert [(each.step, each.why) for each in said.not_undone] == [(1, Stays.CHANGED)]


async def test_while_the_target_takes_no_writes_what_stands_is_named_with_the_reason(sim: Simulation) -> None:
    notices, outbox = [], sim.parts.crew.outbox
    put = outbox.put

    async def heard(tx: AsyncConnection, notice: Notice, only: tuple[str, ...] | None = None) -> None:
        notices.append(notice)
        await put(tx, notice, only)

    outbox.put = heard  # type: ignore[method-assign]
    fail_from(sim, 3)
    await loop(sim, 80)
    said = await told(sim)
    assert said.reason == "undo_failed"
    assert [(each.step, each.why) for each in said.not_undone] == [(1, Stays.FAILED), (0, Stays.FAILED)]
    assert len(said.half_done) == 2
    (incident,) = await sim.incidents()
    assert incident.status is Status.ESCALATED
    target = f"litellm:main/key/{sim.traffic.caller('research').key}"
    assert notices[-1].not_undone == (f"throttle {target}: failed",) * 2
