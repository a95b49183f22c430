"""What is watched and broken: the lab, or the real LiteLLM with our own callers and providers behind it.

All are judged by the gateway's own word: its journal (lab), its admin API (real) and its spend log for the calls, or,
where it has no database, what it lists and which requests it logged.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import httpx
from pydantic import SecretStr

from tests.testbed.litellm import LiteLLM, build, yaml_model
from tests.testbed.litellm.admin import Admin, Key
from tests.testbed.postgres import postgres_server
from tests.testbed.process import ChildProcess
from tests.testbed.rig import ENVIRONMENT, Address, Watched
from tests.testbed.upstream import Mode, Upstream
from watchkeeper.core.clock import SystemClock
from watchkeeper.lab.agents import Callers
from watchkeeper.lab.config import LabInfo
from watchkeeper.lab.gateway.journal import read_journal
from watchkeeper.lab.otlp import Exporter
from watchkeeper.lab.plan import AGENTS, CallerFault

VICTIM = "nightly-batch"
"""A scheduled job that starts to loop, at twice its normal rate: less would be no breach for the throttle."""
MAIN, STANDBY, GROUP = "dep-a", "dep-b", "chat-main"

LIMITS = ("rpm_limit", "tpm_limit", "max_parallel_requests", "max_budget", "blocked")

Row = dict[str, Any]

_LOGGED = re.compile(r'"([A-Z]+) (/[^ ?"]*)[^"]*" \d{3}')
"""A line of the gateway's access log."""


class Watchable(Protocol):
    """One gateway under traffic."""

    watched: Watched


class World(Watchable, Protocol):
    """One that we can break and that tells when it was acted on. Instants are of this machine's clock."""

    judge: str
    """How the instant of an effect is known."""

    def loop(self, on: bool) -> None: ...
    def break_provider(self, on: bool) -> None: ...
    def throttled(self, since: datetime) -> datetime | None: ...
    def drained(self, since: datetime) -> datetime | None: ...
    def rows(self, since: datetime) -> Sequence[Row]:
        """All calls in the spend log that started since then."""


def started(row: Row) -> datetime:
    return datetime.fromisoformat(row["startTime"].replace("Z", "+00:00"))


def ended(row: Row) -> datetime:
    return datetime.fromisoformat(row["endTime"].replace("Z", "+00:00"))


def _rows(admin: Admin, keys: Mapping[str, Key], since: datetime) -> Sequence[Row]:
    return [row for key in keys.values() for row in admin.spend_rows(key) if started(row) >= since]


class Lab:
    judge = "the `at` of the entry in the lab gateway's journal"

    def __init__(self, info: LabInfo) -> None:
        self._info = info
        self._http = httpx.Client(timeout=5, trust_env=False)
        self._admin = Admin(info.gateway_url, info.master_key_file.read_text().strip())
        self._keys = {agent.name: Key("", agent.key_hash) for agent in info.agents}
        self.watched = Watched(
            base_url=info.gateway_url,
            admin_key_file=info.master_key_file,
            keys=tuple(agent.key_hash for agent in info.agents),
            agents=tuple(agent.name for agent in info.agents),
            models=tuple(sorted({deployment.model_name for deployment in info.deployments})),
        )

    def close(self) -> None:
        self._http.close()
        self._admin.close()

    def loop(self, on: bool) -> None:
        body = {"fault": CallerFault.RUNAWAY if on else CallerFault.NONE, "agent": VICTIM}
        self._http.post(f"{self._info.control_url}/_lab/callers", json=body).raise_for_status()

    def break_provider(self, on: bool) -> None:
        url = next(provider.url for provider in self._info.providers if provider.name == "provider-a")
        self._http.post(f"{url}/_ctl", json={"mode": "500" if on else "ok"}).raise_for_status()

    def throttled(self, since: datetime) -> datetime | None:
        for entry in read_journal(self._info.journal_file):
            keys = () if entry.effect is None else entry.effect.keys
            if entry.at >= since and any(k.token == self._keys[VICTIM].hash and k.rpm_limit is not None for k in keys):
                return entry.at
        return None

    def drained(self, since: datetime) -> datetime | None:
        for entry in read_journal(self._info.journal_file):
            models = () if entry.effect is None else entry.effect.models
            if entry.at >= since and any(m.model_id == MAIN and m.weight == 0 for m in models):
                return entry.at
        return None

    def effects(self) -> list[str]:
        """What the gateway did for the daemon, whatever it was."""
        entries = read_journal(self._info.journal_file)
        return [each.path for each in entries if each.changed_by.startswith("watchkeeper:") and each.effect is not None]

    def rows(self, since: datetime) -> Sequence[Row]:
        return _rows(self._admin, self._keys, since)


@contextmanager
def lab(directory: Path, otlp: Address | None, *, seed: int, batch_write_s: float, pace: float = 1.0) -> Iterator[Lab]:
    """The lab as a process; its spans go to `otlp`, or nowhere."""
    argv = [sys.executable, "-m", "watchkeeper.lab", "--dir", str(directory / "lab"), "--seed", str(seed)]
    argv += ["--pace", str(pace), "--environment", ENVIRONMENT, "--batch-write-at", str(batch_write_s)]
    if otlp is not None:
        argv += ["--otlp", otlp.url, "--token-file", str(otlp.token_file)]
    info = directory / "lab" / "lab.json"
    with ChildProcess("lab", argv, log=directory / "lab.log", env=dict(os.environ)) as child:
        child.wait_until(lambda: _is_written(info), timeout_s=60, what="lab.json")
        world = Lab(LabInfo.model_validate(json.loads(info.read_text())))
        try:
            yield world
        finally:
            world.close()


def _is_written(info: Path) -> bool:
    """Whole: it may be seen while it is being written."""
    try:
        return bool(json.loads(info.read_text()))
    except (FileNotFoundError, json.JSONDecodeError):
        return False


class Real:
    """The real gateway with a database: `main` has all the weight, the stand-by none."""

    judge = "the first reply of LiteLLM's admin API that shows it (asked every 0.1 s)"

    def __init__(
        self, gateway: LiteLLM, directory: Path, keys: dict[str, Key], callers: Caller, main: Upstream
    ) -> None:
        self.admin, self.keys, self.callers, self.main = gateway.admin, keys, callers, main
        self.watched = Watched(
            base_url=gateway.base_url,
            admin_key_file=_key_file(directory, gateway),
            keys=tuple(key.hash for key in keys.values()),
            agents=tuple(keys),
            models=(GROUP,),
        )

    def loop(self, on: bool) -> None:
        self.callers.fault(CallerFault.RUNAWAY if on else CallerFault.NONE)

    def break_provider(self, on: bool) -> None:
        self.main.mode = Mode.SERVER_ERROR if on else Mode.OK

    def throttled(self, since: datetime) -> datetime | None:
        limit = self.admin.key_info(self.keys[VICTIM])["rpm_limit"]
        return None if limit is None else datetime.now(UTC)

    def drained(self, since: datetime) -> datetime | None:
        reply = self.admin.call("GET", f"/model/info?litellm_model_id={MAIN}")
        reply.raise_for_status()
        found = reply.json()["data"]
        weight = found[0]["litellm_params"].get("weight") if found else None
        return datetime.now(UTC) if weight == 0 else None

    def rows(self, since: datetime) -> Sequence[Row]:
        return _rows(self.admin, self.keys, since)

    def limits(self, agent: str) -> Row:
        """What holds an agent's key, as the gateway has it."""
        info = self.admin.key_info(self.keys[agent])
        return {name: info[name] for name in LIMITS}

    def weights(self) -> dict[str, Any]:
        """Of each deployment."""
        listed = self.admin.call("GET", "/model/info").raise_for_status().json()["data"]
        return {row["model_info"]["id"]: row["litellm_params"].get("weight") for row in listed}

    def chat(self, agent: str) -> int:
        """The status of one more call with an agent's key."""
        return self.admin.chat(self.keys[agent], GROUP).status_code

    def steps(self, agent: str, since: datetime, step_s: float) -> int:
        """In how many steps since then the agent's key was served, by the spend log: what a baseline is made of."""
        rows = (row for row in self.admin.spend_rows(self.keys[agent]) if row["status"] == "success")
        return len({int(ended(row).timestamp() // step_s) for row in rows if started(row) >= since})


@contextmanager
def real(
    directory: Path, otlp: Address | None, *, seed: int, pace: float = 1.0, chars_per_token: int = 0
) -> Iterator[Real]:
    """LiteLLM with PostgreSQL, two providers behind it, and the lab's callers in front of it."""
    with ExitStack() as stack:
        database = stack.enter_context(postgres_server()).fresh_database()
        main, standby = (stack.enter_context(Upstream(name)) for name in ("a", "b"))
        main.chars_per_token = standby.chars_per_token = chars_per_token
        gateway = stack.enter_context(LiteLLM(build(), directory=directory, database=database.dsn))
        gateway.admin.add_deployment(GROUP, MAIN, main.api_base)
        gateway.admin.add_deployment(GROUP, STANDBY, standby.api_base, weight=0)
        keys = {agent.name: gateway.admin.new_key(agent.name) for agent in AGENTS}
        callers = stack.enter_context(_calling(gateway.base_url, keys, otlp, seed, pace))
        yield Real(gateway, directory, keys, callers, main)


class YamlOnly:
    """The real gateway without a database: nothing can be changed, there are no keys, and nothing logs the spend."""

    def __init__(self, gateway: LiteLLM, directory: Path, main: Upstream) -> None:
        self.main, self._gateway = main, gateway
        self.watched = Watched(
            base_url=gateway.base_url,
            admin_key_file=_key_file(directory, gateway),
            keys=(),
            agents=(),
            models=(GROUP,),
        )

    def state(self) -> Row:
        """All that a remedy could have changed: the deployments, the router's settings, the file itself."""
        lists = {path: self._gateway.admin.call("GET", path) for path in ("/model/info", "/router/settings")}
        return {path: reply.raise_for_status().json() for path, reply in lists.items()} | {
            "file": self._gateway.config.read_text()
        }

    def requests(self) -> set[tuple[str, str]]:
        """(method, path) of all that was asked of the gateway, by its own log."""
        return set(_LOGGED.findall(self._gateway.log.read_text(errors="replace")))


@contextmanager
def yaml_only(directory: Path, *, seed: int) -> Iterator[YamlOnly]:
    """LiteLLM from YAML alone, two providers behind it; the lab's callers share its admin key."""
    with ExitStack() as stack:
        main, standby = (stack.enter_context(Upstream(name)) for name in ("a", "b"))
        models = [
            yaml_model(GROUP, MAIN, main.api_base, weight=1),
            yaml_model(GROUP, STANDBY, standby.api_base, weight=0),
        ]
        gateway = stack.enter_context(LiteLLM(build(), directory=directory, models=models))
        keys = {agent.name: Key(gateway.admin_key, "") for agent in AGENTS}
        stack.enter_context(_calling(gateway.base_url, keys, None, seed, 1.0))
        yield YamlOnly(gateway, directory, main)


def _key_file(directory: Path, gateway: LiteLLM) -> Path:
    found = directory / "admin.key"
    found.touch(mode=0o600)
    found.write_text(gateway.admin_key)
    return found


class Caller:
    """The lab's callers on a thread of their own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callers: Callers) -> None:
        self._loop, self._callers = loop, callers

    def fault(self, fault: CallerFault) -> None:
        """Of the victim."""
        self._loop.call_soon_threadsafe(self._callers.set_fault, VICTIM, fault)

    def refused(self) -> dict[str, int]:
        """How many calls of each agent were answered 429 so far."""
        return {status.name: status.refused for status in self._callers.status()}


@contextmanager
def _calling(base_url: str, keys: dict[str, Key], otlp: Address | None, seed: int, pace: float) -> Iterator[Caller]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="callers", daemon=True)
    thread.start()

    def wait(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    async def start() -> tuple[Callers, Exporter | None, asyncio.Task[None] | None]:
        exporter = None
        if otlp is not None:
            exporter = Exporter(otlp.url, SecretStr(otlp.token_file.read_text()), ENVIRONMENT)
        secret = {agent: SecretStr(keys[agent.name].secret) for agent in AGENTS}
        callers = Callers(secret, base_url, exporter, SystemClock(), seed=seed, pace=pace)
        callers.start()
        return callers, exporter, None if exporter is None else asyncio.create_task(exporter.run())

    callers, exporter, task = wait(start())

    async def stop() -> None:
        await callers.stop()
        if exporter is not None and task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await exporter.close()

    try:
        yield Caller(loop, callers)
    finally:
        wait(stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
