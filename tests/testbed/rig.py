"""The daemon as a process of its own, watching one gateway, with settings under which minutes become seconds.

`FAST` is what a team would set that wants to be told within seconds: buckets of a second, a look every half second.
Policy, and the pace of the runbooks, are the caller's.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import JsonValue

from tests.testbed.ports import LOOPBACK, free_port
from tests.testbed.process import ChildProcess
from watchkeeper.cli.client import TOKEN_FILE, Client

START_S = 60.0
POLL_S = 5.0
ENVIRONMENT = "bench"

Sight = dict[str, JsonValue]
"""Settings by name, over those that every daemon here has."""

FAST: Sight = {
    "state": {"bucket_s": 1, "step_s": 2, "lateness_s": 20, "horizon_s": 120, "history_s": 600},
    "detect_every_s": 0.5,
    "detectors": {
        "token_cost": {"min_history": 6},
        "provider_outage": {"window_s": 15, "min_calls": 6},
        "runaway_loop": {"max_repeats": 10, "silent_s": 10},
    },
}
MAX_REPEATS, MIN_CALLS, BUCKET_S = 10, 6, 1.0
"""The conditions that `FAST` sets: identical tool calls of one run; failed calls, in two buckets."""
STEP_S, MIN_HISTORY = 2.0, 6
"""The steps that make a baseline: how long, how many."""


@dataclass(frozen=True)
class Watched:
    """The gateway to watch: where it is, its admin key, and who calls what through it."""

    base_url: str
    admin_key_file: Path
    keys: tuple[str, ...]
    agents: tuple[str, ...]
    models: tuple[str, ...]


@dataclass(frozen=True)
class Address:
    """Where a daemon will be, known before it starts, so that senders of spans can be told."""

    directory: Path
    port: int
    token_file: Path

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"


@dataclass(frozen=True)
class Daemon:
    api: Client
    process: psutil.Process


def address(directory: Path) -> Address:
    """Makes the data directory with the administrator's token in it."""
    data = directory / "data"
    data.mkdir(parents=True, mode=0o700)
    token = data / TOKEN_FILE
    token.touch(mode=0o600)
    token.write_text("wk_" + secrets.token_urlsafe(32))
    return Address(directory, free_port(), token)


@contextmanager
def daemon(
    at: Address, watched: Watched, sight: Sight, program: Sequence[str] = ("watchkeeper.cli.main",)
) -> Iterator[Daemon]:
    """A daemon that answers; it is ended with the block. `program` is the module that takes `serve`."""
    config = at.directory / "watchkeeper.yaml"
    config.write_text(json.dumps({**_settings(at, watched), **sight}, indent=2))
    with process(at, config, program) as running:
        yield running


@contextmanager
def process(at: Address, config: Path, program: Sequence[str] = ("watchkeeper.cli.main",)) -> Iterator[Daemon]:
    """A daemon with these settings, which name the data directory and port of `at`."""
    argv = [sys.executable, "-m", *program, "serve", "--config", str(config)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WATCHKEEPER_")}
    with ChildProcess("daemon", argv, log=at.directory / "daemon.log", env=environment) as child:
        child.wait_for_http(f"{at.url}/readyz", timeout_s=START_S)
        api = Client(at.url, at.token_file.read_text())
        try:
            yield Daemon(api, psutil.Process(child.pid))
        finally:
            api.close()


def _settings(at: Address, watched: Watched) -> Sight:
    return {
        "data_dir": str(at.token_file.parent),
        "environment": ENVIRONMENT,
        "api": {"port": at.port},
        "services": [
            {
                "name": "chat",
                "environment": ENVIRONMENT,
                "agents": list(watched.agents),
                "keys": list(watched.keys),
                "models": list(watched.models),
            }
        ],
        "gateways": [
            {
                "name": "gateway",
                "base_url": watched.base_url,
                "admin_key_file": str(watched.admin_key_file),
                "poll_s": POLL_S,
            }
        ],
        "timing": {"recheck_s": 1},
        "ledger": {"origin": "watchkeeper.bench/log"},
    }
