"""Several HTTP servers in one event loop, each able to hang up on a caller without a reply.

It does not install signal handlers and does not serve TLS: the lab is for loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import cast

import uvicorn
from fastapi import FastAPI, Request
from uvicorn.protocols.http.h11_impl import H11Protocol

START_TIMEOUT_S = 10.0
BACKLOG = 256


class _HangUpProtocol(H11Protocol):
    """ASGI has no message for "close the connection with no reply"; the request's state carries one."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "hang_up": transport.abort}


def hang_up(request: Request) -> None:
    """Closes the caller's connection at once; whatever the handler returns afterwards goes nowhere."""
    cast(Callable[[], None], request.state.hang_up)()


class _QuietServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the program that starts the lab, not to one of its servers."""
        yield


class HttpServer:
    """One application on one loopback port, started and stopped with the lab."""

    def __init__(self, name: str, app: FastAPI, port: int = 0) -> None:
        self.name = name
        self._socket = socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
        config = uvicorn.Config(
            app,
            http=_HangUpProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            timeout_graceful_shutdown=1,
        )
        self._server = _QuietServer(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    async def start(self) -> None:
        self.port = self._socket.getsockname()[1]
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]), name=f"lab-{self.name}")
        async with asyncio.timeout(START_TIMEOUT_S):
            while not self._server.started:
                if self._task.done():
                    await self._task
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._socket.close()
