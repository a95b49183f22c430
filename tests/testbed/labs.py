"""The lab's gateway between two providers, on real sockets, for tests that break things."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from pydantic import JsonValue, SecretStr

from watchkeeper.core.clock import Clock, SystemClock
from watchkeeper.lab.config import LabInfo
from watchkeeper.lab.gateway.app import Gateway, GatewayConfig, gateway_app
from watchkeeper.lab.gateway.journal import JournalEntry
from watchkeeper.lab.gateway.router import RouterSettings
from watchkeeper.lab.gateway.rows import ModelRow, key_hash
from watchkeeper.lab.provider import Provider, ProviderControl, ProviderMode, provider_app
from watchkeeper.lab.serving import HttpServer

MASTER_KEY = "sk-master-of-the-tests"


@dataclass
class LabGateway:
    """A gateway with `chat-main` on dep-a (weight 1) and dep-b (weight 0), `chat-spare` on dep-c (provider b) and
    `chat-yaml` from the configuration file."""

    gateway: Gateway
    url: str
    admin: httpx.AsyncClient
    providers: tuple[Provider, Provider]

    async def key(self, alias: str, **settings: JsonValue) -> str:
        reply = await self.admin.post("/key/generate", json={"key_alias": alias, **settings})
        assert reply.status_code == 200, reply.text
        return str(reply.json()["key"])

    async def update_key(self, key: str, **settings: JsonValue) -> httpx.Response:
        return await self.admin.post("/key/update", json={"key": key_hash(key), **settings})

    async def chat(
        self, key: str, *, model: str = "chat-main", prompt: str = "hello", max_tokens: int = 10
    ) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": max_tokens}
        return await self.admin.post("/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})

    async def spend_rows(self, **filters: str) -> list[dict[str, JsonValue]]:
        """What the spend log holds once the batch is written."""
        self.gateway.spend.flush()
        params = {"start_date": "2020-01-01", "end_date": "2099-01-01", "page_size": "1000", **filters}
        reply = await self.admin.get("/spend/logs/v2", params=params)
        assert reply.status_code == 200, reply.text
        rows: list[dict[str, JsonValue]] = reply.json()["data"]
        return rows

    def journal(self, path: str) -> list[JournalEntry]:
        return [entry for entry in self.gateway.store.journal.entries() if entry.path == path]

    def break_provider(self, place: int, mode: ProviderMode) -> None:
        self.providers[place].switch(ProviderControl(mode=mode, delay_s=0))


@asynccontextmanager
async def open_gateway(
    directory: Path, clock: Clock | None = None, router: RouterSettings | None = None
) -> AsyncIterator[LabGateway]:
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        providers = (Provider("provider-a", latency_s=0), Provider("provider-b", latency_s=0))
        servers = [HttpServer(provider.name, provider_app(provider)) for provider in providers]
        config = GatewayConfig(
            directory=directory,
            master_key=SecretStr(MASTER_KEY),
            proxy_batch_write_at=60,
            router=router or RouterSettings(num_retries=0),
            config_models=(_model("dep-yaml", "chat-yaml", servers[0].url, None, db_model=False, clock=clock),),
        )
        gateway = await stack.enter_async_context(Gateway(config, clock))
        if not any(row.db_model for row in gateway.store.models.values()):
            for row in (
                _model("dep-a", "chat-main", servers[0].url, 1, db_model=True, clock=clock),
                _model("dep-b", "chat-main", servers[1].url, 0, db_model=True, clock=clock),
                _model("dep-c", "chat-spare", servers[1].url, None, db_model=True, clock=clock),
            ):
                gateway.store.models[row.model_id] = row
        server = HttpServer("gateway", gateway_app(gateway))
        await stack.enter_async_context(_running(*servers, server))
        headers = {"authorization": f"Bearer {MASTER_KEY}"}
        admin = await stack.enter_async_context(
            httpx.AsyncClient(base_url=server.url, headers=headers, timeout=20, trust_env=False)
        )
        yield LabGateway(gateway, server.url, admin, providers)


@asynccontextmanager
async def _running(*servers: HttpServer) -> AsyncIterator[None]:
    try:
        await asyncio.gather(*(server.start() for server in servers))
        yield
    finally:
        await asyncio.gather(*(server.stop() for server in servers))


def _model(model_id: str, name: str, url: str, weight: float | None, *, db_model: bool, clock: Clock) -> ModelRow:
    return ModelRow(
        model_id=model_id,
        model_name=name,
        model="openai/gpt-4.1",
        api_base=f"{url}/v1",
        weight=weight,
        input_cost_per_token=0.01,
        output_cost_per_token=0.1,
        db_model=db_model,
        created_at=clock.now(),
        updated_at=clock.now(),
    )


@dataclass
class LabProcess:
    """`python -m watchkeeper.lab` as a process of its own, so that it can be killed."""

    process: Process
    info: LabInfo
    admin: httpx.AsyncClient

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def lab_process(directory: Path, *arguments: str) -> AsyncIterator[LabProcess]:
    """Starts the lab and waits until it says that it is up; ends it with SIGTERM if the test did not kill it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "watchkeeper.lab", "--dir", str(directory), *arguments, stdout=PIPE, env=dict(os.environ)
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        assert line.startswith(b"lab is up"), line
        info = LabInfo.model_validate(json.loads((directory / "lab.json").read_text()))
        headers = {"authorization": f"Bearer {info.master_key_file.read_text().strip()}"}
        async with httpx.AsyncClient(base_url=info.gateway_url, headers=headers, timeout=10, trust_env=False) as admin:
            yield LabProcess(process, info, admin)
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), 20)
        await process.stdout.read()
