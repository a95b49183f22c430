"""A small target with everything that the action contract speaks of, for the conformance kit itself.

Lamps have a level and a colour, and a version that a write may name; they can be restarted, and come back a moment
later unless they are jammed. Bulbs can be removed, and do not come back. The judge reads and writes the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from tests.testbed.ports import LOOPBACK
from watchkeeper.core.actions import Target
from watchkeeper.core.model import Scalar

KEY = "toy-key-of-the-conformance-kit"


@dataclass
class Lamp:
    level: Scalar = None
    colour: Scalar = "white"
    session: int = 1
    ready: bool = True
    version: int = 1


@dataclass
class Shop:
    """The store, its journal's length, and whether restarts jam."""

    lamps: dict[str, Lamp] = field(default_factory=lambda: {"hall": Lamp(), "yard": Lamp(level=40)})
    bulbs: set[str] = field(default_factory=set)
    written: int = 0
    jammed: bool = False

    def reset(self) -> None:
        vars(self).update(vars(Shop()))

    def new_bulb(self) -> str:
        name = f"bulb-{self.written}-{len(self.bulbs)}"
        self.bulbs.add(name)
        return name

    async def fields(self, target: Target) -> Mapping[str, Scalar]:
        if target.kind == "bulb":
            return {"there": target.id in self.bulbs or None}
        lamp = self.lamps[target.id]
        return {"level": lamp.level, "colour": lamp.colour, "session": lamp.session}

    async def write(self, target: Target, values: Mapping[str, Scalar]) -> None:
        lamp = self.lamps[target.id]
        for name, value in values.items():
            setattr(lamp, name, value)
        lamp.version += 1

    async def effects(self) -> int:
        return self.written

    def serve(self) -> FastAPI:
        app = FastAPI()

        @app.middleware("http")
        async def known(request: Request, call_next):  # type: ignore[no-untyped-def]
            if request.headers.get("x-toy-key") != KEY:
                return JSONResponse({"error": "who are you"}, 401)
            return await call_next(request)

        @app.get("/lamps/{name}")
        async def look(name: str) -> JSONResponse:
            lamp = self.lamps.get(name)
            return JSONResponse(vars(lamp)) if lamp else JSONResponse({}, 404)

        @app.patch("/lamps/{name}")
        async def change(name: str, request: Request) -> JSONResponse:
            lamp, wanted = self.lamps[name], request.headers.get("if-match")
            if wanted and wanted != str(lamp.version):
                return JSONResponse({"error": "moved"}, 412)
            await self.write(Target(adapter="", kind="lamp", id=name), await request.json())
            self.written += 1
            return JSONResponse({})

        @app.post("/lamps/{name}/restart")
        async def restart(name: str) -> JSONResponse:
            lamp = self.lamps[name]
            lamp.session, lamp.ready = lamp.session + 1, False
            lamp.version += 1
            self.written += 1
            if not self.jammed:
                asyncio.get_running_loop().call_later(0.05, setattr, lamp, "ready", True)
            return JSONResponse({})

        @app.get("/bulbs/{name}")
        async def bulb(name: str) -> JSONResponse:
            return JSONResponse({}, 200 if name in self.bulbs else 404)

        @app.delete("/bulbs/{name}")
        async def remove(name: str) -> JSONResponse:
            self.bulbs.discard(name)
            self.written += 1
            return JSONResponse({})

        return app


@asynccontextmanager
async def toy_shop() -> AsyncIterator[tuple[Shop, str]]:
    """The store and its URL."""
    shop = Shop()
    server = uvicorn.Server(uvicorn.Config(shop.serve(), host=LOOPBACK, port=0, log_config=None, lifespan="off"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield shop, f"http://{LOOPBACK}:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
