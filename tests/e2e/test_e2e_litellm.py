"""Incidents in the real LiteLLM 1.106.2 with PostgreSQL, handled end to end. Judged by the gateway's own admin API,
its spend log, and what the callers saw."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bench import rig, worlds
from pydantic import JsonValue
from tests.testbed.upstream import Mode

from watchkeeper.cli.client import Client
from watchkeeper.lab.plan import CallerFault

pytestmark = [pytest.mark.peer, pytest.mark.timeout(420)]

WARM_UP_S = 18.0
POLICY = """
apiVersion: watchkeeper.dev/v1
kind: Grant
metadata: {name: e2e-throttle}
spec:
  match:
    environments: [bench]
    services: [chat]
    agents: [remediator/litellm]
    runbooks: [throttle-runaway-caller]
    intents: [throttle]
    targetKinds: [key]
  autonomy: propose
  approvals:
    - {roles: [approver, operator], ttl: 10m}
---
apiVersion: watchkeeper.dev/v1
kind: Grant
metadata: {name: e2e-fail-over}
spec:
  match:
    environments: [bench]
    services: [chat]
    agents: [remediator/litellm]
    runbooks: [fail-over-provider]
    intents: [shift_traffic]
    targetKinds: [deployment]
  autonomy: bounded
"""


def eventually(ask: Callable[[], Any], what: str, seconds: float) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = ask()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"no {what} within {seconds:g} s")


@contextmanager
def watched(directory: Path, **overrides: JsonValue) -> Iterator[tuple[worlds.Real, Client, Client]]:
    """The real gateway under traffic, the daemon beside it; (world, admin, operator)."""
    at = rig.address(directory)
    with worlds.real(directory, at, seed=7) as world:
        runbooks: JsonValue = {"overrides": dict(overrides)}
        sight: dict[str, JsonValue] = {**rig.FAST, "runbooks": runbooks}
        with rig.daemon(at, world.watched, sight) as daemon:
            made = daemon.api.post("/v1/tokens", {"principal": "olga", "roles": ["operator", "approver"]})
            with closing(Client(at.url, made["token"])) as operator:
                operator.post("/v1/policies", {"files": [{"name": "e2e.yaml", "text": POLICY}], "reason": "e2e"})
                started = time.monotonic()
                eventually(lambda: time.monotonic() - started > WARM_UP_S, "warm-up", WARM_UP_S + 5)
                yield world, daemon.api, operator


def incident(api: Client, mode: str) -> dict[str, Any] | None:
    found = [each for each in api.get("/v1/incidents", closed=True) if each["mode"] == mode]
    return found[0] if found else None


def closed(api: Client, mode: str) -> dict[str, Any] | None:
    found = incident(api, mode)
    return found if found is not None and found["status"] == "closed" else None


def outcomes(api: Client, name: str) -> list[str]:
    steps = api.get(f"/v1/incidents/{name}/story")
    return [step["data"]["recovery"] for step in steps if step["type"].endswith("outcome.v1")]


def ledger_holds(api: Client) -> bool:
    return bool(api.post("/v1/ledger/verify", {})["ok"])


def limits(world: worlds.Real, agent: str) -> dict[str, Any]:
    info = world._admin.key_info(world._keys[agent])
    return {name: info[name] for name in ("rpm_limit", "tpm_limit", "max_parallel_requests", "max_budget", "blocked")}


def test_e2e_a_runaway_key_is_throttled_and_its_limits_come_back_exactly(tmp_path: Path) -> None:
    pace: JsonValue = {"window_s": 60, "horizons_s": [66], "hold_s": 1, "release_steps": [1], "watch_s": 3}
    with watched(tmp_path, **{"throttle-runaway-caller": pace}) as (world, api, operator):
        victim, others = worlds.VICTIM, [name for name in world._keys if name != worlds.VICTIM]
        before = {name: limits(world, name) for name in world._keys}
        assert before[victim]["rpm_limit"] is None
        world._callers.fault(CallerFault.RUNAWAY)
        (waiting,) = eventually(lambda: operator.get("/v1/approvals"), "approval", 30)
        assert limits(world, victim) == before[victim]
        operator.post(f"/v1/approvals/{waiting['id']}", {"answer": "approved", "via": "e2e"})
        eventually(lambda: limits(world, victim)["rpm_limit"], "throttle", 15)
        key = world._keys[victim]
        eventually(lambda: world._admin.chat(key, worlds.GROUP).status_code == 429, "429", 60)
        assert [world._admin.chat(world._keys[name], worlds.GROUP).status_code for name in others] == [200, 200]
        found = incident(api, "runaway_loop")
        assert found is not None
        eventually(lambda: outcomes(api, found["id"])[-1:] == ["recovered"], "recovery", 150)
        world._callers.fault(CallerFault.NONE)
        ended = eventually(lambda: closed(api, "runaway_loop"), "close", 60)
        assert ended["resolution"] == "recovered"
        assert {name: limits(world, name) for name in world._keys} == before
        assert len(api.get("/v1/incidents", closed=True)) == 1
        assert ledger_holds(api)


@pytest.mark.parametrize("mode", [Mode.SERVER_ERROR, Mode.RATE_LIMIT])
def test_e2e_a_failing_upstream_is_drained_and_given_back(tmp_path: Path, mode: Mode) -> None:
    pace: JsonValue = {"window_s": 15, "horizons_s": [16], "hold_s": 1, "release_steps": [1], "watch_s": 6}
    with watched(tmp_path, **{"fail-over-provider": pace}) as (world, api, _):
        world._main.mode = mode
        drained = eventually(lambda: world.drained(datetime.now(UTC)), "drain", 40)
        found = eventually(lambda: incident(api, "provider_outage"), "incident", 5)
        eventually(lambda: outcomes(api, found["id"])[-1:] == ["recovered"], "recovery", 60)
        served = [row for row in world.rows(drained) if row["status"] == "success"]
        assert served
        assert {row["model_id"] for row in served} == {worlds.STANDBY}
        world._main.mode = Mode.OK
        ended = eventually(lambda: closed(api, "provider_outage"), "close", 90)
        assert ended["resolution"] == "recovered"
        models = {row["model_info"]["id"]: row for row in world._admin.call("GET", "/model/info").json()["data"]}
        weights = {name: models[name]["litellm_params"].get("weight") for name in (worlds.MAIN, worlds.STANDBY)}
        assert weights == {worlds.MAIN: 1, worlds.STANDBY: 0}
        since = datetime.now(UTC)
        eventually(
            lambda: any(row["model_id"] == worlds.MAIN and row["status"] == "success" for row in world.rows(since)),
            "traffic on the first upstream",
            40,
        )
        assert ledger_holds(api)
