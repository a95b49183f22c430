"""The lab and the daemon as processes of their own, at a pace of seconds, to be broken and started again.

One `Nursery` serves many watches. A `Watch` has a lab and a data directory of its own; `start` and `kill9` as often as
you like. What the gateway was made to do is read from its own journal, never from us.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import httpx

from watchkeeper.lab.config import LabInfo
from watchkeeper.lab.gateway.journal import JournalEntry, read_journal

UNTIL_S = 90.0
"""The bound of a wait, not its length: a machine that others use too may need it."""
POLL_S = 0.05
PACE = 3.0
"""Of the lab's callers: some twenty calls a second."""
GRANTS = ("fail-over-provider", "throttle-runaway-caller", "cap-token-spend")


class Nursery:
    """Forks daemons and labs (tests/chaos/daemon_main.py), and tells how they ended."""

    def __init__(self) -> None:
        argv = [sys.executable, "-m", "tests.chaos.daemon_main", "nursery"]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("WATCHKEEPER_")}
        self._process = Popen(argv, stdin=PIPE, stdout=PIPE, env=environment, text=True)
        self._read()

    def fork(self, work: str, *args: str, log: Path) -> int:
        return int(self._ask({"work": work, "args": args, "log": str(log)})["pid"])

    def wait(self, pid: int, seconds: float) -> int | None:
        """The exit status, negative for a signal; None: it still runs."""
        status: int | None = self._ask({"wait": pid, "seconds": seconds})["status"]
        return status

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the nursery ended"
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def open_nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    try:
        yield nursery
    finally:
        nursery.close()


class Watch:
    """Made by `open_watch`. `settings` may be changed between starts."""

    def __init__(self, nursery: Nursery, directory: Path, lab: LabInfo, settings: dict[str, Any]) -> None:
        self._nursery, self.directory, self.lab, self.settings = nursery, directory, lab, settings
        self.http = httpx.Client(timeout=10, trust_env=False)
        self._pid: int | None = None
        self._url = ""
        self._modes: dict[str, str] = {}

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def log(self) -> Path:
        return self.directory / "daemon.log"

    @property
    def admin_key(self) -> str:
        return self.lab.master_key_file.read_text().strip()

    def start(self, kill: str = "") -> None:
        """Starts the daemon and waits for its API; one that is to kill itself may be gone before that."""
        assert not self.running, "the daemon runs already"
        config = self.directory / "watchkeeper.yaml"
        config.write_text(json.dumps(self.settings))
        with suppress(FileNotFoundError):
            (self.data / "api.json").unlink()
        self._pid = self._nursery.fork("serve", str(config), kill, log=self.log)
        self.until(lambda: (self.data / "api.json").exists() or not self.running, what="api.json")
        assert kill or self.running, f"the daemon ended while it started:{self.tale()}"
        if (self.data / "api.json").exists():
            self._url = json.loads((self.data / "api.json").read_text())["url"]

    @property
    def running(self) -> bool:
        """Raises when the daemon has ended in any other way than killed."""
        status = None if self._pid is None else self._nursery.wait(self._pid, 0)
        if status is not None:
            self._pid = None
            assert status == -signal.SIGKILL, f"the daemon ended with {status}:{self.tale()}"
        return self._pid is not None

    def kill9(self) -> None:
        assert self._pid is not None
        os.kill(self._pid, signal.SIGKILL)
        self.until(lambda: not self.running, what="end")

    def stop(self) -> None:
        """Asks it to end, and insists after a while."""
        if self._pid is None:
            return
        os.kill(self._pid, signal.SIGTERM)
        if self._nursery.wait(self._pid, 15) is None:
            os.kill(self._pid, signal.SIGKILL)
            self._nursery.wait(self._pid, 5)
        self._pid = None

    def get(self, path: str, **query: str | int | bool) -> Any:
        return self._call("GET", path, params=query).json()

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return self._call("POST", path, json=body).json()

    def download(self, path: str) -> bytes:
        return self._call("GET", path).content

    def _call(self, method: str, path: str, **rest: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {(self.data / 'local.token').read_text().strip()}"}
        reply = self.http.request(method, self._url + path, headers=headers, **rest)
        assert reply.is_success, f"{method} {path}: {reply.status_code} {reply.text}"
        return reply

    def provider(self, name: str, mode: str) -> None:
        if self._modes.get(name) == mode:
            return
        self._modes[name] = mode
        url = next(each.url for each in self.lab.providers if each.name == name)
        self.http.post(f"{url}/_ctl", json={"mode": mode}).raise_for_status()

    def admin_fault(self, mode: str, **rest: Any) -> None:
        self.http.post(f"{self.lab.gateway_url}/_lab/fault", json={"mode": mode, **rest}).raise_for_status()

    def admin_fault_is_used_up(self) -> bool:
        """Whether the calls that the fault was for have reached the gateway."""
        found = self.http.get(f"{self.lab.gateway_url}/_lab/fault").raise_for_status().json()
        return bool(found["mode"] == "none")

    def callers(self, fault: str, agent: str | None = None) -> None:
        body = {"fault": fault, "agent": agent}
        self.http.post(f"{self.lab.control_url}/_lab/callers", json=body).raise_for_status()

    def effects(self) -> list[JournalEntry]:
        """What the gateway did for us, by its own journal."""
        found = read_journal(self.lab.journal_file)
        return [each for each in found if each.changed_by.startswith("watchkeeper:") and each.effect is not None]

    def counts(self) -> Counter[str]:
        """How often each action key had an effect."""
        return Counter(each.changed_by.removeprefix("watchkeeper:") for each in self.effects())

    def weights(self) -> dict[str, float | None]:
        headers = {"Authorization": f"Bearer {self.admin_key}"}
        rows = self.http.get(f"{self.lab.gateway_url}/model/info", headers=headers).raise_for_status().json()["data"]
        return {row["model_info"]["id"]: row["litellm_params"].get("weight") for row in rows}

    def incidents(self) -> list[dict[str, Any]]:
        """All of them, the newest first."""
        found: list[dict[str, Any]] = self.get("/v1/incidents", closed=True)
        return found

    def until(self, ready: Callable[[], object], *, what: str, seconds: float = UNTIL_S) -> None:
        end = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < end, f"no {what} within {seconds:g} s:{self.tale()}"
            time.sleep(POLL_S)

    def until_status(self, *wanted: str, seconds: float = UNTIL_S) -> dict[str, Any]:
        """Waits until the only incident has one of these states, and answers it."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = self.incidents()
            return bool(found) and found[0]["status"] in wanted

        self.until(there, what=" or ".join(wanted), seconds=seconds)
        return found[0]

    def entries(self) -> list[dict[str, Any]]:
        """The first thousand entries of the ledger."""
        found: list[dict[str, Any]] = self.get("/v1/ledger/entries", limit=1000)
        return found

    def tale(self) -> str:
        """The end of the daemon's log and what was done, for a failure message."""
        log = self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""
        return f"\n{log}\neffects: {dict(self.counts())}"


@contextmanager
def open_watch(
    nursery: Nursery, directory: Path, *, seed: int = 1, pace: float = PACE, **changed: Any
) -> Iterator[Watch]:
    """A running lab, and a daemon that is not started yet. `changed` replaces settings by name."""
    lab_dir = directory / "lab"
    (directory / "data").mkdir(parents=True, mode=0o700)
    arguments = ["--dir", str(lab_dir), "--seed", str(seed), "--pace", str(pace), "--batch-write-at", "0.3"]
    pid = nursery.fork("lab", *arguments, "--rate-window", "5", "--environment", "demo", log=directory / "lab.log")
    try:
        watch = Watch(nursery, directory, _lab_info(lab_dir), {})
        watch.settings = {**settings(watch.data, watch.lab), **changed}
        try:
            yield watch
        finally:
            watch.stop()
            watch.http.close()
    finally:
        os.kill(pid, signal.SIGKILL)
        nursery.wait(pid, 5)


def _lab_info(directory: Path) -> LabInfo:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with suppress(FileNotFoundError, ValueError):
            return LabInfo.model_validate_json((directory / "lab.json").read_text())
        time.sleep(POLL_S)
    raise AssertionError("the lab did not start")


def settings(data: Path, lab: LabInfo) -> dict[str, Any]:
    """A team's settings, with windows of seconds where production has minutes."""
    pace = {"window_s": 2, "horizons_s": [2, 3], "hold_s": 0.5, "watch_s": 1, "min_events": 1, "release_steps": [1]}
    return {
        "data_dir": str(data),
        "environment": "demo",
        "api": {"port": 0},
        "services": [
            {
                "name": "chat",
                "environment": "demo",
                "agents": [agent.name for agent in lab.agents],
                "keys": [agent.key_hash for agent in lab.agents],
                "models": sorted({deployment.model_name for deployment in lab.deployments}),
            }
        ],
        "gateways": [
            {"name": "lab", "base_url": lab.gateway_url, "admin_key_file": str(lab.master_key_file), "poll_s": 0.3}
        ],
        "policy": {"pack": "demo"},
        "state": {"bucket_s": 1, "step_s": 1, "lateness_s": 5, "horizon_s": 60, "history_s": 300},
        "detect_every_s": 0.25,
        "detectors": {"provider_outage": {"window_s": 4, "min_calls": 6}},
        "runbooks": {"overrides": {name: dict(pace) for name in GRANTS}},
        "timing": {
            "recheck_s": 0.4,
            "claim_s": 1.5,
            "grace_s": 0.5,
            "reconcile_s": 0.5,
            "reconcile_tries": 3,
            "inconclusive_extensions": 3,
        },
        "ledger": {"origin": "watchkeeper.chaos/log"},
    }
