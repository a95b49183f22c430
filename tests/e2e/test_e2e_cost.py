"""A spike of cost in the real LiteLLM 1.106.2 with PostgreSQL, capped and released. Judged by the gateway's own admin
API, its spend log, and what the callers saw."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue
from tests.testbed import rig, worlds
from tests.testbed.grants import grant, policy
from tests.testbed.polling import eventually
from tests.testbed.scene import scene

from watchkeeper.lab.plan import CallerFault

pytestmark = [pytest.mark.peer, pytest.mark.timeout(420), pytest.mark.usefixtures("litellm_installation")]

STEP_S, MIN_HISTORY = 3.0, 5
POLICY = policy(
    grant(
        "cap-token-spend", ["throttle", "set_budget"], ["key"], environment="bench", approvers=["approver", "operator"]
    )
)
PACE: JsonValue = {"window_s": 60, "horizons_s": [66], "hold_s": 5, "release_steps": [0.5, 1], "watch_s": 3}
SIGHT: rig.Sight = {
    "state": {"bucket_s": 1, "step_s": STEP_S, "lateness_s": 60, "horizon_s": 240, "history_s": 600},
    "detectors": {"token_cost": {"min_history": MIN_HISTORY, "needed": 2, "of": 4}},
    "runbooks": {"overrides": {"cap-token-spend": PACE}},
}
CHARS_PER_TOKEN = 8
"""Ten times the prompt, three times as often, is then some thirteen times the cost, in calls that stay small."""


def spent(world: worlds.Real, agent: str, since: datetime, until: datetime) -> float:
    """By the gateway's spend log, of the calls that ended in between."""
    rows = world.admin.spend_rows(world.keys[agent])
    return sum(float(row["spend"]) for row in rows if since <= worlds.ended(row) < until)


def by_step(world: worlds.Real, agent: str, since: datetime) -> dict[int, float]:
    """Steps since then → US dollars spent in them, by the gateway's spend log."""
    found: defaultdict[int, float] = defaultdict(float)
    for row in world.admin.spend_rows(world.keys[agent]):
        if worlds.ended(row) >= since:
            found[int((worlds.ended(row) - since).total_seconds() // STEP_S)] += float(row["spend"])
    return dict(sorted(found.items()))


def subjects(parts: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(part["subject"]["kind"], part["subject"]["id"]) for part in parts}


def test_e2e_a_spike_of_cost_is_capped_and_the_limits_come_back_exactly(tmp_path: Path) -> None:
    at, victim = rig.address(tmp_path), worlds.VICTIM
    with (
        worlds.real(tmp_path, at, seed=7, chars_per_token=CHARS_PER_TOKEN) as world,
        scene(at, world, POLICY, SIGHT) as on,
    ):
        world.admin.update_key(world.keys[victim], max_budget=50.0)
        before = {name: world.limits(name) for name in world.keys}
        assert (before[victim]["tpm_limit"], before[victim]["max_budget"]) == (None, 50.0)
        eventually(lambda: on.api.get("/v1/status")["health"]["sources"].get("gateway") == "ok", timeout_s=60)
        since = datetime.now(UTC)
        eventually(lambda: world.steps(victim, since, STEP_S) >= 2 * MIN_HISTORY, timeout_s=90)

        world.callers.fault(CallerFault.COST_SPIKE)
        try:
            waiting = on.asked(timeout_s=90)
        except AssertionError as error:
            error.add_note(f"spent by step: {by_step(world, victim, since)}")
            raise
        assert {name: world.limits(name) for name in world.keys} == before
        found = on.incident("token_cost_spike")
        assert found is not None
        finding = on.told(found["id"], "finding.v1")[0]["finding"]
        assert finding["subject"] == {"kind": "key", "id": world.keys[victim].hash}
        assert finding["scope"]["service"] == "chat"
        assert ("model", worlds.GROUP) in subjects(finding["attribution"])
        (rate,) = finding["observations"]
        assert rate["unit"] == "usd/min"
        assert rate["observed"] > 3 * rate["expected"] > 0

        on.operator.post(f"/v1/approvals/{waiting['id']}", {"answer": "approved", "via": "e2e"})
        eventually(lambda: world.limits(victim)["max_budget"] != 50.0, timeout_s=30)
        capped = world.limits(victim)
        assert capped["tpm_limit"] > 0
        assert capped["max_budget"] < 50
        eventually(lambda: world.callers.refused()[victim] > 0, timeout_s=60)
        eventually(lambda: world.chat(victim) == 429, timeout_s=60)

        eventually(lambda: on.recovered(found["id"]), timeout_s=150)
        reading = on.told(found["id"], "outcome.v1")[-1]
        limit = reading["sli"]["sli"]["threshold"]
        until = datetime.fromisoformat(reading["at"])
        assert spent(world, victim, until - timedelta(seconds=60), until) <= limit
        assert {name for name, refused in world.callers.refused().items() if refused} == {victim}

        world.callers.fault(CallerFault.NONE)
        ended = eventually(lambda: on.incident("token_cost_spike", "closed"), timeout_s=90)
        assert ended["resolution"] == "recovered"
        assert {name: world.limits(name) for name in world.keys} == before
        on.told(found["id"], "incident.closed.v1")
        given_back = {each["remedy"]["given_back"] for each in on.told(found["id"], "remedy.v1")}
        assert given_back == {0.0, 0.5, 1.0}
        assert len(on.incidents()) == 1
        assert on.ledger_holds()
