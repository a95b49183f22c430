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
from fastapi import FastAPI
from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

from watchkeeper.core.errors import UnavailableError

START_TIMEOUT_S = 10.0
BACKLOG = 256


class _HangUpProtocol(H11Protocol):
    """ASGI has no message for "close the connection with no reply"; the connection's state carries the means."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "hang_up": transport.abort}


async def hang_up(scope: Scope) -> None:
    """Closes the caller's connection at once and lets the server notice, so that it tries no reply of its own."""
    cast(Callable[[], None], scope["state"]["hang_up"])()
    await asyncio.sleep(0)


class _QuietServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the program that starts the lab, not to one of its servers."""
        yield


class HttpServer:
    """One application on one loopback port, started and stopped with the lab."""

    def __init__(self, name: str, app: FastAPI, port: int = 0) -> None:
        self.name = name
        self._socket = _listen(port)
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


def _listen(port: int) -> socket.socket:
    """A listening socket that says it is TCP: asyncio sets TCP_NODELAY only then, and every answer is 40 ms faster."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise UnavailableError(
            f"port {port} on 127.0.0.1 cannot be used",
            cause=str(error.strerror),
            next_step="choose another port, or 0 for free ones",
        ) from error
    return listener
