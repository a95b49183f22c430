"""Puts the gateway together: state, limits, router, spend log and routes in one FastAPI application.

`/_lab/` is the lab's own corner, without authentication: the journal and the switch for admin faults.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Annotated

import httpx
from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import Field, JsonValue, SecretStr

from watchkeeper.core.clock import Clock
from watchkeeper.core.model import Contract
from watchkeeper.lab.gateway.admin import (
    AdminWrites,
    MasterKey,
    bearer,
    fallback_routes,
    key_routes,
    model_routes,
)
from watchkeeper.lab.gateway.chat import Chat, GatewayChat
from watchkeeper.lab.gateway.errors import GatewayError
from watchkeeper.lab.gateway.faults import AdminFault, AdminFaults, FaultSwitch
from watchkeeper.lab.gateway.limits import Limits
from watchkeeper.lab.gateway.metrics import Metrics
from watchkeeper.lab.gateway.router import Router, RouterSettings
from watchkeeper.lab.gateway.rows import JsonObject, ModelRow
from watchkeeper.lab.gateway.spend import SpendLog, SpendQuery
from watchkeeper.lab.gateway.store import Store

MAX_CONNECTIONS = 200


class GatewayConfig(Contract):
    directory: Path
    master_key: SecretStr
    seed: int = 0
    proxy_batch_write_at: float = Field(default=1.0, gt=0)
    rate_window_s: float = Field(default=60.0, gt=0)
    router: RouterSettings = RouterSettings()
    config_models: tuple[ModelRow, ...] = ()


class Gateway:
    """Runs inside `async with`: opens the state, writes spend batches, and leaves the state on disk."""

    def __init__(self, config: GatewayConfig, clock: Clock) -> None:
        self.config = config
        self.store = Store(config.directory, clock, config.config_models)
        self.switch = FaultSwitch()
        self.metrics = Metrics()
        self.spend = SpendLog(self.store)
        self._client = httpx.AsyncClient(
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=20),
            trust_env=False,
        )
        router = Router(self.store, self.metrics, clock, self._client, random.Random(config.seed), config.router)
        limits = Limits(clock, config.rate_window_s)
        self.chat = Chat(self.store, limits, router, self.spend, self.metrics, clock)
        self.writes = AdminWrites(self.store, clock)
        self._batches: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Gateway:
        self._batches = asyncio.create_task(self._write_batches(), name="lab-spend-batches")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._batches is not None:
            self._batches.cancel()
            await asyncio.gather(self._batches, return_exceptions=True)
        self.spend.flush()
        await self._client.aclose()
        self.store.close()

    async def _write_batches(self) -> None:
        while True:
            await asyncio.sleep(self.config.proxy_batch_write_at)
            self.spend.flush()


def gateway_app(gateway: Gateway) -> FastAPI:
    app = FastAPI(title="lab gateway", openapi_url=None)
    admin = MasterKey(gateway.config.master_key, gateway.store)

    @app.exception_handler(GatewayError)
    async def refused(_: Request, error: GatewayError) -> JSONResponse:
        return error.response()

    @app.post("/chat/completions")
    @app.post("/v1/chat/completions")
    async def chat(request: Request, body: GatewayChat) -> JSONResponse:
        return await gateway.chat.complete(bearer(request), body, request.headers)

    for routes in (key_routes, model_routes, fallback_routes):
        app.include_router(routes(gateway.writes, admin))
    app.include_router(_report_routes(gateway, admin))
    app.include_router(_open_routes(gateway))
    app.include_router(_lab_routes(gateway))
    app.add_middleware(AdminFaults, switch=gateway.switch)
    return app


def _report_routes(gateway: Gateway, admin: MasterKey) -> APIRouter:
    router = APIRouter(dependencies=[Depends(admin)])

    @router.get("/spend/logs/v2")
    async def paged(query: Annotated[SpendQuery, Query()]) -> JsonObject:
        return gateway.spend.find(query)

    @router.get("/spend/logs")
    async def plain(api_key: str | None = None, request_id: str | None = None) -> list[JsonObject]:
        return gateway.spend.plain(api_key=api_key, request_id=request_id)

    @router.get("/global/spend/keys")
    async def by_key(limit: Annotated[int | None, Query(ge=1)] = None) -> list[JsonObject]:
        rows = sorted(gateway.store.keys.values(), key=lambda row: row.spend, reverse=True)
        return [
            {
                "api_key": row.token,
                "key_alias": row.key_alias,
                "key_name": row.key_name,
                "total_spend": row.spend,
            }
            for row in rows[:limit]
        ]

    @router.get("/router/settings")
    async def router_settings() -> JsonObject:
        settings = gateway.config.router
        fallbacks: list[JsonValue] = [{name: list(listed)} for name, listed in gateway.store.fallbacks.items()]
        return {
            "fields": [
                {"field_name": "fallbacks", "field_value": fallbacks},
                {"field_name": "num_retries", "field_value": settings.num_retries},
                {"field_name": "cooldown_time", "field_value": settings.cooldown_s},
                {"field_name": "disable_cooldowns", "field_value": settings.cooldown_s == 0},
            ]
        }

    @router.get("/team/list")
    async def teams() -> list[JsonObject]:
        return []

    return router


def _open_routes(gateway: Gateway) -> APIRouter:
    router = APIRouter()

    @router.get("/health/readiness")
    async def readiness() -> JsonObject:
        return {"status": "healthy", "db": "connected"}

    @router.get("/health/liveliness")
    @router.get("/health/liveness")
    async def liveliness() -> str:
        return "I'm alive!"

    @router.get("/metrics/")
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(gateway.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def _lab_routes(gateway: Gateway) -> APIRouter:
    router = APIRouter(prefix="/_lab")

    @router.get("/journal")
    async def journal(after: Annotated[int, Query(ge=0)] = 0) -> JsonObject:
        entries = gateway.store.journal.entries()
        return {"entries": [entry.model_dump(mode="json") for entry in entries if entry.seq > after]}

    @router.post("/fault")
    async def set_fault(fault: AdminFault) -> AdminFault:
        gateway.switch.set(fault)
        return gateway.switch.current

    @router.get("/fault")
    async def fault() -> AdminFault:
        return gateway.switch.current

    return router
