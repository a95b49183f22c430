"""The whole lab in one process: two providers, the gateway, the callers, and a control server.

The world sets itself up through the gateway's own API, as an operator would. Started again on the same directory it
finds its keys, limits and deployments as they were; the spend log and all counters start anew.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import SecretStr

from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import NotFoundError, UnavailableError
from watchkeeper.core.model import Contract
from watchkeeper.lab.agents import AgentStatus, Callers
from watchkeeper.lab.config import AgentInfo, DeploymentInfo, LabConfig, LabInfo, ProviderInfo
from watchkeeper.lab.gateway.app import Gateway, GatewayConfig, gateway_app
from watchkeeper.lab.gateway.router import RouterSettings
from watchkeeper.lab.gateway.rows import JsonObject, ModelRow, key_hash
from watchkeeper.lab.otlp import Exporter, ExporterStatus
from watchkeeper.lab.plan import AGENTS, Agent, CallerFault
from watchkeeper.lab.provider import Provider, provider_app
from watchkeeper.lab.serving import HttpServer

PROVIDER_MODEL = "openai/gpt-4.1"
INPUT_COST, OUTPUT_COST = 2e-6, 8e-6
DEFAULT_VICTIM = {CallerFault.RUNAWAY: "research-agent", CallerFault.COST_SPIKE: "support-bot"}


class CallersControl(Contract):
    """Switches a fault of the callers; `none` without an agent clears all."""

    fault: CallerFault
    agent: str | None = None


class CallersStatus(Contract):
    agents: tuple[AgentStatus, ...]
    exporter: ExporterStatus | None


class World:
    """A running lab. Make one with `open_world`."""

    def __init__(
        self,
        info: LabInfo,
        gateway: Gateway,
        providers: tuple[Provider, ...],
        callers: Callers,
        exporter: Exporter | None,
    ) -> None:
        self.info, self.gateway, self.providers = info, gateway, providers
        self.callers, self.exporter = callers, exporter

    def control(self, request: CallersControl) -> CallersStatus:
        if request.fault is CallerFault.NONE and request.agent is None:
            self.callers.clear()
        else:
            self.callers.set_fault(request.agent or DEFAULT_VICTIM[request.fault], request.fault)
        return self.status()

    def status(self) -> CallersStatus:
        exporter = None if self.exporter is None else self.exporter.status()
        return CallersStatus(agents=self.callers.status(), exporter=exporter)


@asynccontextmanager
async def open_world(config: LabConfig, clock: Clock) -> AsyncIterator[World]:
    """Starts everything, writes `lab.json`, and on exit stops everything in the opposite order."""
    config.directory.mkdir(parents=True, exist_ok=True)
    config = config.model_copy(update={"directory": config.directory.resolve()})
    async with AsyncExitStack() as stack:
        providers = (Provider("provider-a"), Provider("provider-b"))
        urls = [
            await _serve(stack, provider.name, provider_app(provider), _port(config, place))
            for place, provider in enumerate(providers, start=1)
        ]
        master_key = _secret_file(config.directory / "master.key", "sk-lab-master-")
        gateway = await stack.enter_async_context(Gateway(_gateway_config(config, master_key, urls[0], clock), clock))
        gateway_url = await _serve(stack, "gateway", gateway_app(gateway), _port(config, 0))
        keys = {agent: _secret_file(_key_path(config, agent), "sk-lab-") for agent in AGENTS}
        await _set_up(gateway_url, master_key, keys, urls)
        exporter = await _exporter(config, stack)
        callers = Callers(keys, gateway_url, exporter, clock, seed=config.seed, pace=config.pace or 1.0)
        stack.push_async_callback(callers.stop)
        app = FastAPI(title="lab control", openapi_url=None)
        control_url = await _serve(stack, "control", app, _port(config, 3))
        info = _info(config, keys, urls, gateway, gateway_url, control_url)
        world = World(info, gateway, providers, callers, exporter)
        _control_routes(app, world)
        if config.pace > 0:
            callers.start()
        (config.directory / "lab.json").write_text(info.model_dump_json(indent=2) + "\n")
        yield world


async def _serve(stack: AsyncExitStack, name: str, app: FastAPI, port: int) -> str:
    server = HttpServer(name, app, port)
    stack.push_async_callback(server.stop)
    await server.start()
    return server.url


def _port(config: LabConfig, place: int) -> int:
    return config.port + place if config.port else 0


def _key_path(config: LabConfig, agent: Agent) -> Path:
    return config.directory / f"{agent.name}.key"


def _secret_file(path: Path, prefix: str) -> SecretStr:
    """The secret in the file, made on the first start; only its owner may read it."""
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(prefix + secrets.token_urlsafe(18) + "\n")
    return SecretStr(path.read_text().strip())


def _gateway_config(config: LabConfig, master_key: SecretStr, provider_url: str, clock: Clock) -> GatewayConfig:
    now = clock.now()
    from_yaml = ModelRow(
        model_id="dep-yaml",
        model_name="chat-yaml",
        model=PROVIDER_MODEL,
        api_base=f"{provider_url}/v1",
        input_cost_per_token=INPUT_COST,
        output_cost_per_token=OUTPUT_COST,
        db_model=False,
        created_at=now,
        updated_at=now,
    )
    return GatewayConfig(
        directory=config.directory,
        master_key=master_key,
        seed=random.Random(f"{config.seed}/gateway").getrandbits(32),
        proxy_batch_write_at=config.proxy_batch_write_at,
        rate_window_s=config.rate_window_s,
        router=RouterSettings(num_retries=config.num_retries, cooldown_s=config.cooldown_s),
        config_models=(from_yaml,),
    )


async def _set_up(
    gateway_url: str, master_key: SecretStr, keys: dict[Agent, SecretStr], provider_urls: list[str]
) -> None:
    """Brings keys and deployments into being where they are missing; limits that somebody set stay."""
    headers = {
        "authorization": f"Bearer {master_key.get_secret_value()}",
        "litellm-changed-by": "lab-setup",
    }
    async with httpx.AsyncClient(base_url=gateway_url, headers=headers, timeout=10, trust_env=False) as client:
        for agent, key in keys.items():
            found = await client.get("/key/info", params={"key": key_hash(key.get_secret_value())})
            if found.status_code == 404:
                await _post(client, "/key/generate", _key_request(agent, key))
        listed = await client.get("/model/info")
        known = {row["model_info"]["id"]: row["litellm_params"] for row in listed.json()["data"]}
        for letter, weight, url in zip("ab", (1, 0), provider_urls, strict=True):
            request = _deployment_request(f"dep-{letter}", weight, url)
            stored = known.get(f"dep-{letter}")
            if stored is None:
                await _post(client, "/model/new", request)
            elif stored["api_base"] != f"{url}/v1":
                moved: JsonObject = {"litellm_params": {"api_base": f"{url}/v1"}}
                response = await client.patch(f"/model/dep-{letter}/update", json=moved)
                _check(response)


async def _post(client: httpx.AsyncClient, path: str, body: JsonObject) -> None:
    _check(await client.post(path, json=body))


def _check(response: httpx.Response) -> None:
    if response.status_code != 200:
        raise UnavailableError(
            f"the lab gateway answered {response.status_code} to {response.request.url.path}",
            cause="the lab's directory holds the state of another lab",
            next_step="start the lab on an empty directory",
        )


def _key_request(agent: Agent, key: SecretStr) -> JsonObject:
    return {
        "key": key.get_secret_value(),
        "key_alias": agent.name,
        "models": [],
        "metadata": {"service": agent.service, "agent": agent.name},
    }


def _deployment_request(model_id: str, weight: int, url: str) -> JsonObject:
    return {
        "model_name": "chat-main",
        "litellm_params": {
            "model": PROVIDER_MODEL,
            "api_base": f"{url}/v1",
            "weight": weight,
            "input_cost_per_token": INPUT_COST,
            "output_cost_per_token": OUTPUT_COST,
        },
        "model_info": {"id": model_id},
    }


async def _exporter(config: LabConfig, stack: AsyncExitStack) -> Exporter | None:
    if config.otlp_url is None:
        return None
    exporter = Exporter(config.otlp_url, config.otlp_token, config.environment)
    stack.push_async_callback(exporter.close)
    task = asyncio.create_task(exporter.run(), name="lab-exporter")

    async def stop() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(stop)
    return exporter


def _info(
    config: LabConfig,
    keys: dict[Agent, SecretStr],
    provider_urls: list[str],
    gateway: Gateway,
    gateway_url: str,
    control_url: str,
) -> LabInfo:
    by_url = {f"{url}/v1": f"provider-{letter}" for letter, url in zip("ab", provider_urls, strict=True)}
    return LabInfo(
        pid=os.getpid(),
        seed=config.seed,
        environment=config.environment,
        gateway_url=gateway_url,
        control_url=control_url,
        master_key_file=config.directory / "master.key",
        journal_file=gateway.store.journal.path,
        proxy_batch_write_at=config.proxy_batch_write_at,
        providers=tuple(ProviderInfo(name=name, url=url.removesuffix("/v1")) for url, name in by_url.items()),
        agents=tuple(
            AgentInfo(
                name=agent.name,
                service=agent.service,
                model=agent.model,
                key_alias=agent.name,
                key_hash=key_hash(key.get_secret_value()),
                key_file=_key_path(config, agent),
            )
            for agent, key in keys.items()
        ),
        deployments=tuple(
            DeploymentInfo(
                model_id=row.model_id,
                model_name=row.model_name,
                provider=by_url.get(row.api_base, row.api_base),
                manageable=row.db_model,
            )
            for row in gateway.store.models.values()
        ),
    )


def _control_routes(app: FastAPI, world: World) -> None:
    @app.exception_handler(NotFoundError)
    async def unknown(_: Request, error: NotFoundError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=error.http_status)

    @app.post("/_lab/callers")
    async def control(request: CallersControl) -> CallersStatus:
        return world.control(request)

    @app.get("/_lab/callers")
    async def status() -> CallersStatus:
        return world.status()

    @app.get("/_lab/info")
    async def info() -> LabInfo:
        return world.info
