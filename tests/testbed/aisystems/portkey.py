"""Portkey's open-source gateway 1.15.2, the real one: it routes each call by the config that the call brings along.

It keeps nothing and has no admin interface: what a control plane stores (`portkey_control.py`) is shown here to mean
what it says. Whoever may call it chooses the hosts it calls.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from pydantic import JsonValue

from tests.testbed.ports import LOOPBACK, free_port
from tests.testbed.process import ChildProcess
from tests.testbed.upstream import Upstream

READY_S = 30


class Portkey:
    """`with Portkey(place, directory) as gateway: gateway.chat(config)`."""

    def __init__(self, place: Path, directory: Path) -> None:
        port = free_port()
        self.base_url = f"http://{LOOPBACK}:{port}"
        start = place / "node_modules/@portkey-ai/gateway/build/start-server.js"
        command = ["node", str(start), f"--port={port}", "--headless"]
        # loopback is a private address, to which the gateway sends nothing unless told so
        settings = {"TRUSTED_CUSTOM_HOSTS": f"{LOOPBACK},localhost"}
        log = directory / "portkey.log"
        self._child = ChildProcess("portkey", command, log=log, env=os.environ | settings, cwd=directory)
        self._client = httpx.Client(base_url=self.base_url, timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        self._child.start()
        try:
            self._child.wait_for_http(self.base_url, timeout_s=READY_S)
        except BaseException:
            self._child.terminate()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._client.close()
        self._child.terminate()

    def chat(self, config: JsonValue) -> httpx.Response:
        """One short chat under a config."""
        headers = {"x-portkey-config": json.dumps(config), "authorization": "Bearer sk-upstream"}
        body: JsonValue = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
        return self._client.post("/v1/chat/completions", headers=headers, json=body)


def target(upstream: Upstream, **settings: JsonValue) -> JsonValue:
    """One of a config's targets."""
    return {"provider": "openai", "custom_host": upstream.api_base, "api_key": "sk-upstream", **settings}


def config(mode: str, targets: Sequence[JsonValue]) -> JsonValue:
    """`mode`: fallback, loadbalance."""
    return {"strategy": {"mode": mode}, "targets": list(targets)}
