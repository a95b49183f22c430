"""The real LiteLLM proxy with the guard in it, from YAML alone, and a caller of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

from tests.testbed.guardserver import TOKEN, GuardServer
from tests.testbed.litellm import Installation, LiteLLM, yaml_model
from tests.testbed.upstream import Upstream

SOURCE = Path(__file__).resolve().parents[2] / "guard/src"
CALLBACK = "watchkeeper_guard.litellm.guard"
MODEL, WINDOW = "guarded", 4000
FAILING = "guarded-fails"
"""A model group of its own for calls that fail: the router leaves it alone for a while afterwards."""
ENVIRONMENT = "prod"


@dataclass(frozen=True)
class Guarded:
    """The proxy, what is behind it, who sends its rules, and where the guard keeps its state."""

    proxy: LiteLLM
    upstream: Upstream
    server: GuardServer
    state: Path
    client: httpx.Client

    def ask(
        self, text: str = "hello", *, run: str = "", agent: str = "", path: str = "/chat/completions", **body: Any
    ) -> httpx.Response:
        """One chat, with the proxy's own key."""
        given = {"x-watchkeeper-run": run, "x-watchkeeper-agent": agent}
        headers = {"authorization": f"Bearer {self.proxy.admin_key}", **{k: v for k, v in given.items() if v}}
        messages = [{"role": "user", "content": text}]
        return self.client.post(path, headers=headers, json={"model": MODEL, "messages": messages, **body})

    def workers(self) -> list[dict[str, Any]]:
        """What each worker says of itself; renewed every second."""
        return [json.loads(file.read_bytes()) for file in sorted(self.state.glob("worker-*.json"))]

    def wait_for(self, version: int, workers: int = 1, timeout_s: float = 30) -> Self:
        """Until each worker says that these rules are in force."""
        until = time.monotonic() + timeout_s
        while [each["rules_version"] for each in self.workers()] != [version] * workers:
            assert time.monotonic() < until, self.workers()
            time.sleep(0.05)
        return self


def environment(state: Path, url: str = "", **more: str) -> Mapping[str, str]:
    given = {"URL": url, "TOKEN": TOKEN, "STATE_DIR": str(state), "ENVIRONMENT": ENVIRONMENT, **more}
    return {"PYTHONPATH": str(SOURCE), **{f"WATCHKEEPER_GUARD_{name}": value for name, value in given.items() if value}}


@contextmanager
def guarded_proxy(installation: Installation, directory: Path, *, workers: int = 1, **more: str) -> Iterator[Guarded]:
    """Started, with a rule server that has no rules yet."""
    state = directory / "guard"
    with Upstream("guarded") as upstream, GuardServer() as server:
        prices = {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}
        models = [yaml_model(name, f"{name}-a", upstream.api_base, **prices) for name in (MODEL, FAILING)]
        for model in models:
            model["model_info"] = {"id": f"{model['model_name']}-a", "max_input_tokens": WINDOW}
        proxy = LiteLLM(
            installation,
            directory=directory,
            models=models,
            callbacks=[CALLBACK],
            environment=environment(state, server.url, **more),
            workers=workers,
        )
        with proxy, httpx.Client(base_url=proxy.base_url, timeout=60, trust_env=False) as client:
            yield Guarded(proxy, upstream, server, state, client)
