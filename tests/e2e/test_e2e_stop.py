"""The stop as a person gives it: the command line against a daemon of its own, in the middle of an incident."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.testbed.watch import Nursery, Watch, open_nursery, open_watch

pytestmark = pytest.mark.timeout(240)

BEFORE = {"dep-a": 1.0, "dep-b": 0.0}
FAILED_OVER = {"dep-a": 0.0, "dep-b": 1.0}
LONG_HOLD = {"fail-over-provider": {"hold_s": 600}}


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with open_nursery() as opened:
        yield opened


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(watch: Watch, *words: str, timeout: float = 90) -> Said:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WATCHKEEPER_")} | {"COLUMNS": "80"}
    argv = [sys.executable, "-m", "watchkeeper.cli.main", "--data-dir", str(watch.data), *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, env=environment, check=False)
    return Said(done.returncode, done.stdout, done.stderr)


def weights(watch: Watch) -> dict[str, float | None]:
    found = watch.weights()
    return {name: found[name] for name in BEFORE}


def failed_over(watch: Watch) -> None:
    """An outage, and its remedy in force for long."""
    overrides = watch.settings["runbooks"]["overrides"]
    for name, pace in LONG_HOLD.items():
        overrides[name] = {**overrides[name], **pace}
    watch.provider("provider-a", "500")
    watch.start()
    watch.until_status("holding")
    assert weights(watch) == FAILED_OVER


def stopped_with_undo(watch: Watch) -> str:
    """The stop over the API; nobody waits for it."""
    order: str = watch.post("/v1/stop", {"scope": "all", "then_undo": True})["undo"]
    return order


def came(watch: Watch, order: str) -> set[str]:
    return {each["came"] for each in watch.get(f"/v1/stop/undo/{order}")["results"]}


def undone(watch: Watch, order: str) -> bool:
    return came(watch, order) == {"undone"}


def gone(watch: Watch) -> bool:
    return not watch.running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def watch(request: pytest.FixtureRequest, nursery: Nursery, tmp_path: Path) -> Iterator[Watch]:
    """A lab, and a daemon that is not started yet, on each database."""
    changed: dict[str, Any] = {}
    if request.param == "postgresql":
        changed["database"] = {"url": request.getfixturevalue("pg_url")}
    with open_watch(nursery, tmp_path, **changed) as opened:
        yield opened


def test_e2e_stop_then_undo_puts_back_what_stood_and_all_stays_stopped_across_kill_9(watch: Watch) -> None:
    failed_over(watch)
    said = run(watch, "stop", "all", "--then-undo", "--wait", "40")
    assert said.code == 0, (said, watch.tale())
    assert max(map(len, said.out.splitlines())) <= 80
    assert said.out.count("undone: ") == 2
    assert "stopped all at epoch 1" in said.out
    assert weights(watch) == BEFORE
    watch.kill9()
    watch.start()
    assert [each["scope"] for each in watch.get("/v1/status")["stopped"]] == ["all"]
    again = run(watch, "stop", "all", "--json")
    assert (again.code, again.json["stopped"], again.json["unsettled"], again.json["half_done"]) == (0, True, [], [])
    assert set(watch.counts().values()) == {1}
    assert len(watch.counts()) == 4
    assert watch.post("/v1/ledger/verify", {})["ok"]


def test_e2e_an_undo_under_a_stop_survives_kill_9_and_is_done_once(nursery: Nursery, tmp_path: Path) -> None:
    for n, kill in enumerate(("enter:undo", "claimed", "sent")):
        with open_watch(nursery, tmp_path / str(n)) as watch:
            failed_over(watch)
            watch.kill9()
            watch.start(kill)
            order = stopped_with_undo(watch)
            watch.until(partial(gone, watch), what=f"kill at {kill}")
            watch.start()
            watch.until(partial(undone, watch, order), what="undo")
            assert weights(watch) == BEFORE
            assert set(watch.counts().values()) == {1}, "an undo was done twice"
            assert watch.post("/v1/ledger/verify", {})["ok"]


def test_e2e_a_stop_names_what_is_unknown_until_its_target_has_told(nursery: Nursery, tmp_path: Path) -> None:
    with open_watch(nursery, tmp_path) as watch:
        watch.admin_fault("slow", applies_to="writes", count=1, delay_s=6)
        watch.provider("provider-a", "500")
        watch.start()
        watch.until(watch.admin_fault_is_used_up, what="send")
        watch.admin_fault("down")
        quick = run(watch, "stop", "all", "--no-wait")
        assert quick.code == 12, quick
        assert "in flight, may still land" in quick.out
        assert "stopped all" not in quick.out
        late = run(watch, "stop", "all", "--wait", "8", "--json")
        assert late.code == 12, late
        (left,) = late.json["unsettled"]
        assert late.json["stopped"] is False
        assert json.loads(late.err)["code"] == "unsettled"
        assert left["claim"]["key"] in json.loads(late.err)["what"]
        watch.admin_fault("none")
        done = run(watch, "stop", "all", "--then-undo", "--wait", "60")
        assert done.code == 0, (done, watch.tale())
        assert "stopped all" in done.out
        assert "undone: " in done.out
        assert weights(watch) == BEFORE
        assert set(watch.counts().values()) == {1}
        assert watch.post("/v1/ledger/verify", {})["ok"]


def test_e2e_after_a_stop_the_daemon_itself_gives_nothing_back(watch: Watch) -> None:
    failed_over(watch)
    assert run(watch, "stop", "environment:demo").code == 0
    watch.provider("provider-a", "ok")
    watch.kill9()
    watch.settings["runbooks"]["overrides"]["fail-over-provider"]["hold_s"] = 0.5
    watch.start()
    (incident,) = [each["id"] for each in watch.incidents() if each["status"] == "holding"]
    assert run(watch, "undo", incident).code == 0
    watch.until_status("escalated")
    assert weights(watch) == FAILED_OVER
    assert len(watch.counts()) == 2
    assert run(watch, "resume", "environment:demo").code == 0
    assert run(watch, "undo", incident).code == 0
    watch.until(lambda: weights(watch) == BEFORE, what="undo")
