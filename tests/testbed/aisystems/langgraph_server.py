"""The LangGraph server (langgraph-api 0.16.7) with its in-memory runtime: the real API over a real looping agent.

What 0.16.7 does there and its documents do not say: setting an assistant back to a version brings back its `config` but
leaves the `context` of the newest, and runs see that one.

Targets: `run`, id `THREAD/RUN`; `cron`, `assistant`, by their ids. The judge asks with LangGraph's own client. NOT
shown: what differs in a deployment with PostgreSQL and Redis, several servers and what survives a restart.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from tests.testbed.aisystems.front import Front
from tests.testbed.polling import eventually
from tests.testbed.ports import LOOPBACK, free_port
from tests.testbed.process import ChildProcess
from watchkeeper.core.model import Scalar

READY_S = 120
STEPS = 1_000_000
_READS = ("/search", "/count", "/versions")
"""POST, and yet they only read."""


class LangGraph:
    """`with LangGraph(place, directory) as server`: adapters are given `url` and `key`, sent as X-Api-Key; `reader_key`
    may only read."""

    def __init__(self, place: Path, directory: Path) -> None:
        self.key, self.reader_key = secrets.token_hex(16), secrets.token_hex(16)
        port = free_port()
        self._direct = f"http://{LOOPBACK}:{port}"
        code = Path(__file__).with_name("agent.py")
        config = directory / "langgraph.json"
        config.write_text(
            json.dumps(
                {
                    "dependencies": ["."],
                    "graphs": {"agent": f"{code}:agent"},
                    "auth": {"path": f"{code}:auth", "disable_studio_auth": True},
                }
            )
        )
        settings = {
            "TESTBED_KEY": self.key,
            "TESTBED_READER": self.reader_key,
            "LANGGRAPH_CLI_NO_ANALYTICS": "1",
            "LANGGRAPH_NO_VERSION_CHECK": "true",
            "LANGSMITH_TRACING": "false",
        }
        serve = [str(place / "venv/bin/langgraph"), "dev", "--no-browser", "--no-reload", "--config", str(config)]
        command = [*serve, "--host", LOOPBACK, "--port", str(port), "--n-jobs-per-worker", "20"]
        log = directory / "langgraph.log"
        self._child = ChildProcess("langgraph", command, log=log, env=os.environ | settings, cwd=directory)
        self._front = Front(self._direct, _READS)

    def __enter__(self) -> Self:
        from langgraph_sdk import get_sync_client

        self._child.start()
        try:
            self._child.wait_for_http(f"{self._direct}/ok", timeout_s=READY_S)
        except BaseException:
            self._child.terminate()
            raise
        self._front.__enter__()
        self._client = get_sync_client(url=self._direct, api_key=self.key)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._front.__exit__(kind, error, tb)
        self._client.http.client.close()
        self._child.terminate()

    @property
    def url(self) -> str:
        return self._front.url

    @property
    def journal(self) -> list[str]:
        return self._front.journal

    # Makers.

    def run(self) -> str:
        """A run that goes on until it is stopped; it has begun to work."""
        thread = self._client.threads.create()["thread_id"]
        settings: Any = {"recursion_limit": STEPS}
        run = self._client.runs.create(thread, "agent", input={"steps": 0}, config=settings)["run_id"]
        id_ = f"{thread}/{run}"
        eventually(lambda: self.fields("run", id_)["steps"], timeout_s=30)
        return id_

    def cron(self) -> str:
        """A schedule that starts the agent once a year, on the first of January."""
        return str(cast(Any, self._client.crons.create("agent", schedule="0 0 1 1 *", input={"steps": 0}))["cron_id"])

    def assistant(self, *models: str) -> str:
        """An assistant with a version for each model; the last is in force."""
        first, *others = models
        made = self._client.assistants.create("agent", context={"model": first}, name=f"one-{secrets.token_hex(4)}")
        for model in others:
            self._client.assistants.update(made["assistant_id"], context={"model": model})
        return made["assistant_id"]

    # The judge.

    def fields(self, kind: str, id_: str) -> Mapping[str, Scalar]:
        """What is not there is a LookupError."""
        from langgraph_sdk.errors import NotFoundError

        try:
            return self._fields(kind, id_)
        except NotFoundError as error:
            raise LookupError(id_) from error

    def _fields(self, kind: str, id_: str) -> Mapping[str, Scalar]:
        if kind == "run":
            thread, run = id_.split("/")
            status = self._client.runs.get(thread, run)["status"]
            # of a thread's values only the state tells while a run is at work
            values = cast(Mapping[str, int], self._client.threads.get_state(thread)["values"] or {})
            return {
                "status": status,
                "thread": self._client.threads.get(thread)["status"],
                "steps": values.get("steps"),
            }
        if kind == "cron":
            return {"enabled": bool(cast(Any, self._client.http.get(f"/runs/crons/{id_}"))["enabled"])}
        assert kind == "assistant"
        assistant = self._client.assistants.get(id_)
        return {"version": assistant["version"], "model": cast(Any, assistant["context"]).get("model")}

    def write(self, kind: str, id_: str, values: Mapping[str, Scalar]) -> None:
        """`status` "interrupted" of a run, `enabled` of a schedule, `version` of an assistant."""
        for name, value in values.items():
            if kind == "run":
                assert (name, value) == ("status", "interrupted")
                self._client.runs.cancel(*id_.split("/"), wait=True)
            elif kind == "cron":
                assert name == "enabled"
                self._client.crons.update(id_, enabled=bool(value))
            else:
                assert (kind, name) == ("assistant", "version")
                self._client.assistants.set_latest(id_, cast(int, value))

    def effects(self) -> int:
        return len(self.journal)
