"""The demo's stage: a directory, the lab, the daemon, and how to reach them. Everything is taken down at the end."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from watchkeeper.cli.client import TOKEN_FILE, Client
from watchkeeper.core.errors import UnavailableError

START_S = 180.0
"""Of each process, on a machine that is busy with other things."""
RATE_WINDOW_S = 5


@dataclass(frozen=True)
class Stage:
    """`lab` is the content of lab.json; `operator` is the named person of the demo."""

    directory: Path
    lab: dict[str, Any]
    admin: Client
    operator: Client
    http: httpx.Client

    def provider(self, name: str, mode: str) -> None:
        url = next(p["url"] for p in self.lab["providers"] if p["name"] == name)
        self.http.post(f"{url}/_ctl", json={"mode": mode}).raise_for_status()

    def callers(self, fault: str, agent: str | None = None) -> None:
        body = {"fault": fault, "agent": agent}
        self.http.post(f"{self.lab['control_url']}/_lab/callers", json=body).raise_for_status()

    def faults(self) -> list[str]:
        """What is still broken, by the lab's own word."""
        callers = self.http.get(f"{self.lab['control_url']}/_lab/callers").json()["agents"]
        providers = [self.http.get(f"{provider['url']}/_ctl").json() for provider in self.lab["providers"]]
        found = [f"{agent['name']}: {agent['fault']}" for agent in callers if agent["fault"] != "none"]
        return found + [f"{each['name']}: {each['mode']}" for each in providers if each["mode"] != "ok"]

    def journal(self) -> list[dict[str, Any]]:
        """The gateway's own journal of admin writes: what was really done to it."""
        reply = self.http.get(f"{self.lab['gateway_url']}/_lab/journal")
        reply.raise_for_status()
        found: list[dict[str, Any]] = reply.json()["entries"] if isinstance(reply.json(), dict) else reply.json()
        return found


@contextlib.contextmanager
def set_up(directory: Path, seed: int) -> Iterator[Stage]:
    """Starts the lab and the daemon, waits until both answer, makes the demo operator's token."""
    data, lab_dir, port = directory / "data", directory / "lab", _free_port()
    data.mkdir(parents=True, mode=0o700, exist_ok=True)
    token = data / TOKEN_FILE
    token.touch(mode=0o600)
    token.write_text("wk_" + secrets.token_urlsafe(32))
    with contextlib.ExitStack() as stack:
        url = f"http://127.0.0.1:{port}"
        lab = _start_lab(stack, directory, lab_dir, seed, url, token)
        config = directory / "watchkeeper.yaml"
        config.write_text(json.dumps(_settings(data, port, lab), indent=2))
        argv = [sys.executable, "-m", "watchkeeper.cli.main", "serve", "--config", str(config)]
        daemon = stack.enter_context(_process("daemon", argv, directory))
        http = stack.enter_context(httpx.Client(timeout=5))
        _wait(lambda: http.get(f"{url}/readyz").status_code == 200, daemon, directory / "daemon.log")
        admin = Client(url, token.read_text())
        made = admin.post("/v1/tokens", {"principal": "demo-operator", "roles": ["operator", "approver"]})
        yield Stage(directory, lab, admin, Client(url, made["token"]), http)


def _start_lab(
    stack: contextlib.ExitStack, directory: Path, lab_dir: Path, seed: int, otlp: str, token: Path
) -> dict[str, Any]:
    argv = [sys.executable, "-m", "watchkeeper.lab", "--dir", str(lab_dir), "--seed", str(seed), "--otlp", otlp]
    argv += ["--token-file", str(token), "--rate-window", str(RATE_WINDOW_S), "--environment", "demo"]
    argv += ["--batch-write-at", "0.5"]
    process = stack.enter_context(_process("lab", argv, directory))
    _wait((lab_dir / "lab.json").exists, process, directory / "lab.log")
    found: dict[str, Any] = json.loads((lab_dir / "lab.json").read_text())
    return found


def _settings(data: Path, port: int, lab: dict[str, Any]) -> dict[str, Any]:
    """A team's settings, at the pace of a demo: windows of seconds where production has minutes."""
    pace = {"window_s": 10, "horizons_s": [10, 13], "hold_s": 3, "watch_s": 4, "min_events": 1}
    return {
        "data_dir": str(data),
        "environment": "demo",
        "api": {"port": port},
        "services": [
            {
                "name": "chat",
                "environment": "demo",
                "agents": [agent["name"] for agent in lab["agents"]],
                "keys": [agent["key_hash"] for agent in lab["agents"]],
                "models": sorted({deployment["model_name"] for deployment in lab["deployments"]}),
            }
        ],
        "gateways": [
            {
                "name": "lab",
                "base_url": lab["gateway_url"],
                "admin_key_file": lab["master_key_file"],
                "poll_s": 1,
            }
        ],
        "state": {"bucket_s": 1, "step_s": 2, "lateness_s": 10, "horizon_s": 120, "history_s": 600},
        "detect_every_s": 0.5,
        "detectors": {
            "token_cost": {"min_history": 6, "needed": 2, "of": 3},
            "provider_outage": {"window_s": 6, "min_calls": 6},
            "runaway_loop": {"max_repeats": 10, "silent_s": 10},
        },
        "runbooks": {
            "overrides": dict.fromkeys(("fail-over-provider", "throttle-runaway-caller", "cap-token-spend"), pace)
        },
        "timing": {"recheck_s": 2, "approval_ttl_s": 300},
        "ledger": {"origin": "watchkeeper.demo/log"},
    }


@contextlib.contextmanager
def _process(name: str, argv: list[str], directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A child that cannot outlive us unnoticed: it is asked to end, then killed."""
    with (directory / f"{name}.log").open("ab") as log:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("WATCHKEEPER_")}
        process = subprocess.Popen(argv, stdout=log, stderr=log, env=environment)  # noqa: S603  # our own program
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(ready: Any, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        with contextlib.suppress(httpx.HTTPError):  # not listening yet
            if ready():
                return
        time.sleep(0.1)
    raise UnavailableError(
        "the demo could not start",
        cause=_last_line(log) if process.poll() is not None else f"it was not ready within {START_S:g} s",
        next_step=f"read {log}",
    )


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1][:300] if lines else "it said nothing"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
