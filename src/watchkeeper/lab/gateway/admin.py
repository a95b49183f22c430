"""The admin routes: keys, deployments and fallbacks. Each write is journalled, then takes effect, then is replied to.

One worker runs them: between reading the rows and writing them there is no await, so writes never interleave.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, SecretStr

from watchkeeper.core.clock import Clock
from watchkeeper.lab.gateway import keys, models
from watchkeeper.lab.gateway.errors import GatewayError, unauthorized, unknown_key
from watchkeeper.lab.gateway.keys import Change
from watchkeeper.lab.gateway.rows import Effect, JsonObject, key_hash
from watchkeeper.lab.gateway.store import Store


class MasterKey:
    """A dependency that lets only the master key through."""

    def __init__(self, master_key: SecretStr, store: Store) -> None:
        self._master_key, self._store = master_key, store

    def __call__(self, request: Request) -> None:
        given = bearer(request)
        if not given:
            raise unauthorized("No api key passed in.")
        if not secrets.compare_digest(given.encode(), self._master_key.get_secret_value().encode()):
            if key_hash(given) not in self._store.keys:
                raise unknown_key(given)
            raise unauthorized(
                "Only proxy admin can be used to generate, delete, update info for new keys/users/teams. "
                f"Route={request.url.path}. Your role=unknown."
            )


def bearer(request: Request) -> str:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


class AdminWrites:
    """Carries a pure change into the store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store, self.clock = store, clock

    def commit(self, request: Request, body: BaseModel | None, change: Callable[[], Change]) -> JSONResponse:
        try:
            reply, effect = change()
        except GatewayError as refusal:
            self._journal(request, body, refusal.status, None)
            raise
        self._journal(request, body, 200, effect)
        return JSONResponse(reply)

    def _journal(self, request: Request, body: BaseModel | None, status: int, effect: Effect | None) -> None:
        self.store.write(
            method=request.method,
            path=request.url.path,
            query=request.url.query,
            changed_by=request.headers.get("litellm-changed-by", ""),
            body=None if body is None else body.model_dump(mode="json", exclude_unset=True),
            status=status,
            effect=effect,
        )


def key_routes(writes: AdminWrites, admin: MasterKey) -> APIRouter:
    router = APIRouter(dependencies=[Depends(admin)])
    store, clock = writes.store, writes.clock

    @router.post("/key/generate")
    async def generate(request: Request, body: keys.NewKey) -> JSONResponse:
        secret = body.key or f"sk-{secrets.token_urlsafe(16)}"
        return writes.commit(request, body, lambda: keys.generate(store.keys, body, secret, clock.now()))

    @router.post("/key/update")
    async def update(request: Request, body: keys.KeyUpdate) -> JSONResponse:
        return writes.commit(request, body, lambda: keys.update(store.keys, body, clock.now()))

    @router.post("/key/block")
    async def block(request: Request, body: keys.KeyRef) -> JSONResponse:
        return writes.commit(request, body, lambda: keys.set_blocked(store.keys, body, blocked=True, now=clock.now()))

    @router.post("/key/unblock")
    async def unblock(request: Request, body: keys.KeyRef) -> JSONResponse:
        return writes.commit(request, body, lambda: keys.set_blocked(store.keys, body, blocked=False, now=clock.now()))

    @router.get("/key/info")
    async def info(key: str) -> JsonObject:
        return keys.info(store.keys, key)

    @router.get("/key/list")
    async def listing(
        page: Annotated[int, Query(ge=1)] = 1,
        size: Annotated[int, Query(ge=1, le=100)] = 10,
        return_full_object: bool = False,
        key_alias: str | None = None,
        key_hash: str | None = None,
    ) -> JsonObject:
        return keys.page(
            store.keys.values(),
            number=page,
            size=size,
            full=return_full_object,
            key_alias=key_alias,
            key_hash=key_hash,
        )

    return router


def model_routes(writes: AdminWrites, admin: MasterKey) -> APIRouter:
    router = APIRouter(dependencies=[Depends(admin)])
    store, clock = writes.store, writes.clock

    @router.post("/model/new")
    async def create(request: Request, body: models.NewModel) -> JSONResponse:
        fresh_id = str(uuid.uuid4())
        return writes.commit(request, body, lambda: models.create(store.models, body, fresh_id, clock.now()))

    @router.post("/model/update")
    async def replace(request: Request, body: models.ModelPatch) -> JSONResponse:
        return writes.commit(request, body, lambda: models.replace(store.models, body, clock.now()))

    @router.patch("/model/{model_id}/update")
    async def patch(request: Request, model_id: str, body: models.ModelPatch) -> JSONResponse:
        return writes.commit(request, body, lambda: models.patch(store.models, model_id, body, clock.now()))

    @router.post("/model/delete")
    async def delete(request: Request, body: models.ModelId) -> JSONResponse:
        return writes.commit(request, body, lambda: models.delete(store.models, body))

    @router.post("/model/block")
    async def block(request: Request, body: models.ModelRef) -> JSONResponse:
        return writes.commit(
            request, body, lambda: models.set_blocked(store.models, body, blocked=True, now=clock.now())
        )

    @router.post("/model/unblock")
    async def unblock(request: Request, body: models.ModelRef) -> JSONResponse:
        return writes.commit(
            request, body, lambda: models.set_blocked(store.models, body, blocked=False, now=clock.now())
        )

    @router.get("/model/info")
    @router.get("/v1/model/info")
    async def listing(litellm_model_id: str | None = None) -> JsonObject:
        return models.listing(store.models, litellm_model_id)

    return router


def fallback_routes(writes: AdminWrites, admin: MasterKey) -> APIRouter:
    router = APIRouter(dependencies=[Depends(admin)])
    store = writes.store

    @router.post("/fallback")
    async def set_fallback(request: Request, body: models.NewFallback) -> JSONResponse:
        return writes.commit(request, body, lambda: models.set_fallback(store.fallbacks, store.model_names(), body))

    @router.get("/fallback/{model}")
    async def get_fallback(model: str, fallback_type: models.FallbackType = "general") -> JsonObject:
        return models.get_fallback(store.fallbacks, model, fallback_type)

    @router.delete("/fallback/{model}")
    async def drop_fallback(
        request: Request, model: str, fallback_type: models.FallbackType = "general"
    ) -> JSONResponse:
        return writes.commit(request, None, lambda: models.drop_fallback(store.fallbacks, model, fallback_type))

    return router
