"""A proxy that stands between an adapter and a real HTTP target, and breaks calls in the ways that happen.

It passes whole requests and replies (no streaming, no upgrades, one request per connection) and runs in the test's own
event loop. With no fault on it changes nothing but the connection header.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import httpx

from tests.testbed.ports import LOOPBACK
from watchkeeper.adapters.kit import RETRY_AFTER_S, Fault

MAX_HEAD = 64 << 10
HOP_HEADERS = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive", "content-encoding", "host"})
PAGE = b"<!doctype html><title>Sign in</title><h1>Please sign in</h1>"

_INSTEAD: dict[Fault, tuple[int, str, bytes, dict[str, str]]] = {
    Fault.ERROR: (500, "application/json", b'{"error":{"message":"broken on purpose","code":"500"}}', {}),
    Fault.GARBAGE: (200, "text/html", PAGE, {}),
    Fault.UNAUTHORIZED: (401, "application/json", b'{"error":{"message":"no","type":"auth_error","code":"401"}}', {}),
    Fault.RATE_LIMITED: (
        429,
        "application/json",
        b'{"error":{"message":"slow down","code":"429"}}',
        {"Retry-After": str(RETRY_AFTER_S)},
    ),
}
_AFTER_EFFECT = (Fault.DROP_AFTER_EFFECT, Fault.ERROR_AFTER_EFFECT, Fault.TRUNCATED_AFTER_EFFECT)


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Writes = Callable[[str, str, Mapping[str, str], bytes], bool]
"""Whether a request (method, path, headers in lower case, body) may change something."""


def by_method(method: str, path: str, headers: Mapping[str, str], body: bytes) -> bool:
    return method not in ("GET", "HEAD", "OPTIONS")


class FaultProxy:
    """`async with fault_proxy(target_url) as proxy`; the adapter is given `proxy.url`."""

    def __init__(self, target: str, client: httpx.AsyncClient, writes: Writes = by_method) -> None:
        self.target, self.forwarded_writes = target, 0
        self._client, self._arrived, self._writes = client, 0, writes
        self._fault: Fault | None = None
        self._writes_only = True
        self._released = asyncio.Event()
        self._held = 0
        self._landed = asyncio.Event()
        self._landed.set()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._again: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._again.set_result(None)
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def known(self) -> frozenset[Fault]:
        return frozenset(Fault)

    @property
    def greets(self) -> bool:
        return False

    @property
    def arrived(self) -> int:
        """How many requests came in."""
        return self._arrived

    @contextmanager
    def meet(self, fault: Fault, *, writes_only: bool = True) -> Iterator[None]:
        """The fault is on inside the block. What is held goes to the target when the block ends."""
        self._fault, self._writes_only = fault, writes_only
        self._released.clear()
        if fault is Fault.DOWN and self._server is not None:
            self._server.close()
        try:
            yield
        finally:
            self._fault = None
            self._released.set()
            if fault is Fault.DOWN:
                self._again = asyncio.ensure_future(self._serve_on(self._listen()))

    async def landed(self) -> None:
        """Every request that was held has been carried out."""
        async with asyncio.timeout(30):
            await self._landed.wait()

    async def start(self) -> None:
        await self._serve_on(self._listen())

    async def stop(self) -> None:
        await self._again
        assert self._server is not None
        self._server.close()
        self._released.set()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _listen(self) -> socket.socket:
        """Callers can connect from now on; they are served a moment later."""
        listener = socket.create_server((LOOPBACK, self.port), backlog=64)
        self.port = listener.getsockname()[1]
        return listener

    async def _serve_on(self, listener: socket.socket) -> None:
        self._server = await asyncio.start_server(self._serve, sock=listener)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            request = await _read(reader)
            if request is not None:
                self._arrived += 1
                await self._answer(request, writer)
        except ConnectionError:
            writer.transport.abort()  # the caller has gone: nobody to tell
        finally:
            self._open.discard(task)
            writer.close()

    async def _answer(self, request: _Request, writer: asyncio.StreamWriter) -> None:
        fault = self._fault if not self._writes_only or self._is_write(request) else None
        if fault in _INSTEAD:
            status, kind, body, more = _INSTEAD[fault]
            await _reply(writer, status, {"Content-Type": kind, **more}, body)
            return
        if fault is Fault.HELD:
            await self._hold(request)
            return
        response = await self._forward(request)
        if fault is Fault.DROP_AFTER_EFFECT:
            writer.transport.abort()
        elif fault is Fault.ERROR_AFTER_EFFECT:
            await _reply(writer, 502, {"Content-Type": "text/html"}, PAGE)
        elif fault is Fault.TRUNCATED_AFTER_EFFECT:
            await _reply(
                writer, response.status_code, _passed(response), response.content[:-1], claim=len(response.content)
            )
        else:
            await _reply(writer, response.status_code, _passed(response), response.content)

    async def _hold(self, request: _Request) -> None:
        """The caller waits in vain; the target gets the call when the fault is over."""
        self._held += 1
        self._landed.clear()
        try:
            await self._released.wait()
            await self._forward(request)
        finally:
            self._held -= 1
            if not self._held:
                self._landed.set()

    def _is_write(self, request: _Request) -> bool:
        return self._writes(request.method, request.path, request.headers, request.body)

    async def _forward(self, request: _Request) -> httpx.Response:
        self.forwarded_writes += self._is_write(request)
        headers = {name: value for name, value in request.headers.items() if name not in HOP_HEADERS}
        return await self._client.request(
            request.method, self.target + request.path, headers=headers, content=request.body or None
        )


@asynccontextmanager
async def fault_proxy(
    target: str, tls: ssl.SSLContext | None = None, writes: Writes = by_method
) -> AsyncIterator[FaultProxy]:
    """`tls`: how the target is known, where it speaks TLS; the adapter's side is plain."""
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=60, trust_env=False, limits=limits, verify=tls or True) as client:
        proxy = FaultProxy(target, client, writes)
        await proxy.start()
        try:
            yield proxy
        finally:
            await proxy.stop()


async def _read(reader: asyncio.StreamReader) -> _Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    lines = head.decode("latin-1").split("\r\n")
    method, path, _ = lines[0].split(" ", 2)
    pairs = (line.split(":", 1) for line in lines[1:] if line)
    headers = {name.strip().lower(): value.strip() for name, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return _Request(method, path, headers, body)


def _passed(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.lower() not in HOP_HEADERS}


async def _reply(
    writer: asyncio.StreamWriter, status: int, headers: dict[str, str], body: bytes, *, claim: int | None = None
) -> None:
    """`claim` is the length that the reply says it has."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body) if claim is None else claim}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
    await writer.drain()
