"""Incidents in the real LiteLLM 1.106.2 with PostgreSQL, handled end to end. Judged by the gateway's own admin API,
its spend log, and what the callers saw."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import JsonValue
from tests.testbed import rig, worlds
from tests.testbed.grants import grant, policy
from tests.testbed.polling import eventually
from tests.testbed.scene import Scene, scene
from tests.testbed.upstream import Mode

from watchkeeper.lab.plan import CallerFault

pytestmark = [pytest.mark.peer, pytest.mark.timeout(420), pytest.mark.usefixtures("litellm_installation")]

POLICY = policy(
    grant("throttle-runaway-caller", ["throttle"], ["key"], environment="bench", approvers=["approver", "operator"]),
    grant("fail-over-provider", ["shift_traffic"], ["deployment"], environment="bench"),
)


LONG_STEP_S, HALF_PACE = 5.0, 0.5
"""On a busy machine each call takes its time, and a loop must still be well above what is normal: so the callers go at
half pace, and a step of the baseline is long enough for much the same number of their calls."""


@contextmanager
def watched(
    directory: Path, overrides: JsonValue, *, step_s: float = rig.STEP_S, pace: float = 1.0
) -> Iterator[Scene[worlds.Real]]:
    """The real gateway under traffic, and a daemon that has watched it long enough to know what is normal."""
    at = rig.address(directory)
    state: JsonValue = {"bucket_s": 1, "step_s": step_s, "lateness_s": 20, "horizon_s": 120, "history_s": 600}
    sight: rig.Sight = {"state": state, "runbooks": {"overrides": overrides}}
    with (
        worlds.real(directory, at, seed=7, pace=pace) as world,
        scene(at, world, POLICY, sight) as found,
    ):
        since, steps = datetime.now(UTC), rig.MIN_HISTORY + 1
        eventually(lambda: world.steps(worlds.VICTIM, since, step_s) >= steps, timeout_s=90)
        yield found


def test_e2e_a_runaway_key_is_throttled_and_its_limits_come_back_exactly(tmp_path: Path) -> None:
    pace: JsonValue = {"window_s": 60, "horizons_s": [66], "hold_s": 1, "release_steps": [1], "watch_s": 3}
    overrides: JsonValue = {"throttle-runaway-caller": pace}
    with watched(tmp_path, overrides, step_s=LONG_STEP_S, pace=HALF_PACE) as on:
        world, victim = on.world, worlds.VICTIM
        others = [name for name in world.keys if name != victim]
        before = {name: world.limits(name) for name in world.keys}
        assert before[victim]["rpm_limit"] is None
        world.callers.fault(CallerFault.RUNAWAY)
        waiting = on.asked(timeout_s=30)
        assert world.limits(victim) == before[victim]
        on.operator.post(f"/v1/approvals/{waiting['id']}", {"answer": "approved", "via": "e2e"})
        eventually(lambda: world.limits(victim)["rpm_limit"], timeout_s=15)
        eventually(lambda: world.chat(victim) == 429, timeout_s=60)
        assert [world.chat(name) for name in others] == [200, 200]
        found = on.incident("runaway_loop")
        assert found is not None
        eventually(lambda: on.recovered(found["id"]), timeout_s=150)
        world.callers.fault(CallerFault.NONE)
        ended = eventually(lambda: on.incident("runaway_loop", "closed"), timeout_s=60)
        assert ended["resolution"] == "recovered"
        assert {name: world.limits(name) for name in world.keys} == before
        assert len(on.incidents()) == 1
        assert on.ledger_holds()


@pytest.mark.parametrize("mode", [Mode.SERVER_ERROR, Mode.RATE_LIMIT])
def test_e2e_a_failing_upstream_is_drained_and_given_back(tmp_path: Path, mode: Mode) -> None:
    pace: JsonValue = {"window_s": 15, "horizons_s": [16], "hold_s": 1, "release_steps": [1], "watch_s": 6}
    with watched(tmp_path, {"fail-over-provider": pace}) as on:
        world = on.world
        world.main.mode = mode
        drained = eventually(lambda: world.drained(datetime.now(UTC)), timeout_s=40)
        found = eventually(lambda: on.incident("provider_outage"), timeout_s=5)
        eventually(lambda: on.recovered(found["id"]), timeout_s=60)
        served = [row for row in world.rows(drained) if row["status"] == "success"]
        assert served
        assert {row["model_id"] for row in served} == {worlds.STANDBY}
        world.main.mode = Mode.OK
        ended = eventually(lambda: on.incident("provider_outage", "closed"), timeout_s=90)
        assert ended["resolution"] == "recovered"
        assert world.weights() == {worlds.MAIN: 1, worlds.STANDBY: 0}
        since = datetime.now(UTC)
        eventually(
            lambda: any(row["model_id"] == worlds.MAIN and row["status"] == "success" for row in world.rows(since)),
            timeout_s=40,
        )
        assert on.ledger_holds()
