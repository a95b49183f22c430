"""Agents as a person meets them: the command line against a daemon of its own, with an outage before it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.testbed.watch import Nursery, Watch, open_nursery, open_watch

from watchkeeper.agents.manifest import MODULES

pytestmark = pytest.mark.timeout(240)

SEES, ACTS = "detector/provider-outage", "remediator/litellm"
PROMOTION = ("fail-over-provider/shift_traffic", "demo/chat", "-m", "it looks good")


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with open_nursery() as opened:
        yield opened


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def watch(request: pytest.FixtureRequest, nursery: Nursery, tmp_path: Path) -> Iterator[Watch]:
    changed: dict[str, Any] = {}
    if request.param == "postgresql":
        changed["database"] = {"url": request.getfixturevalue("pg_url")}
    with open_watch(nursery, tmp_path, **changed) as opened:
        yield opened


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def agents(watch: Watch, *words: str) -> Said:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WATCHKEEPER_")} | {"COLUMNS": "80"}
    argv = [sys.executable, "-m", "watchkeeper.cli.main", "--data-dir", str(watch.data), "agents", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=90, env=environment, check=False)
    assert max(map(len, done.stdout.splitlines()), default=0) <= 80 or "--json" in words
    return Said(done.returncode, done.stdout, done.stderr)


def refusals(watch: Watch) -> set[str]:
    told = [each["envelope"] for each in watch.entries()]
    return {each["data"]["reason"] for each in told if each["type"].endswith("claim.refused.v1")}


def state(watch: Watch, agent: str) -> str:
    found: str = watch.get(f"/v1/agents/{agent}")["state"]
    return found


def test_e2e_an_agent_is_revoked_and_reinstated_and_its_history_says_who_and_why(watch: Watch) -> None:
    watch.start()
    assert agents(watch, "revoke", SEES, "-m", "cries wolf").code == 0
    watch.provider("provider-a", "500")
    watch.until(lambda: "stopped" in refusals(watch), what="refusal")  # seen, diagnosed and decided all the same
    watch.until_status("escalated")
    assert watch.counts() == {}

    watch.kill9()
    watch.start()
    assert state(watch, SEES) == "revoked"
    watch.provider("provider-a", "ok")
    watch.until_status("closed")
    assert agents(watch, "reinstate", SEES).code == 0
    assert state(watch, SEES) == "active"

    watch.provider("provider-a", "500")
    watch.until(watch.counts, what="effect")
    lines = agents(watch, "history", SEES, "--json").json
    assert [(each["stop"]["stopped"], each["why"]) for each in lines] == [(False, None), (True, "cries wolf")]
    assert set(watch.counts().values()) == {1}
    assert watch.post("/v1/ledger/verify", {})["ok"]


def test_e2e_agents_are_listed_and_shown_and_nobody_is_promoted_without_a_record(
    nursery: Nursery, tmp_path: Path
) -> None:
    with open_watch(nursery, tmp_path) as watch:
        watch.start()
        assert all(name in agents(watch, "list").out for name in MODULES)
        early = agents(watch, "promote", ACTS, *PROMOTION)
        assert (early.code, "outcomes" in early.err) == (5, True)
        assert agents(watch, "demote", ACTS, *PROMOTION).code == 5
        assert agents(watch, "ceiling", ACTS, "shadow", "-m", "holiday season").code == 0
        assert "ceiling shadow" in agents(watch, "show", ACTS).out
        told = agents(watch, "history", ACTS)
        assert (told.code, "ceiling full to shadow" in told.out, "holiday season" in told.out) == (0, True, True)
        watch.provider("provider-a", "500")
        watch.until_status("escalated")
        assert watch.counts() == {}
