"""A proxy that stands between a client and a real TCP server, and breaks connections in the ways that happen.

It passes bytes and understands none of them, so it suits what is encrypted, SSH above all. It runs in the test's own
event loop. What it holds back is passed on when the fault is over, also if nobody listens any more; a reply that
depends on an answer of the client never comes then.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from tests.testbed.ports import LOOPBACK

_CHUNK = 64 << 10
_GARBAGE = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"


class TcpProxy:
    """`async with tcp_proxy(address, port) as proxy`; the client is given `proxy.address` and `proxy.port`."""

    address = LOOPBACK

    def __init__(self, address: str, port: int) -> None:
        self._target = (address, port)
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._to_server, self._to_client = _Gate(), _Gate()
        self._garbled = False
        self._again: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._again.set_result(None)
        self.port = 0
        self.arrived = 0
        """How many connections were accepted."""

    def cut(self) -> None:
        """Reset every connection that is open, on both sides."""
        for writer in self._writers:
            writer.transport.abort()

    @contextmanager
    def held(self, *, replies_only: bool = False) -> Iterator[None]:
        """Inside the block nothing arrives, or nothing but what the client sends; connections stay open."""
        self._to_client.shut()
        if not replies_only:
            self._to_server.shut()
        try:
            yield
        finally:
            self._to_client.open()
            self._to_server.open()

    @contextmanager
    def garbled(self) -> Iterator[None]:
        """Inside the block a stranger answers new connections, in another protocol. Those that are open are cut."""
        self._garbled = True
        self.cut()
        try:
            yield
        finally:
            self._garbled = False

    @contextmanager
    def down(self) -> Iterator[None]:
        """Inside the block connections are refused. Those that are open are cut."""
        self._close()
        try:
            yield
        finally:
            self._again = asyncio.ensure_future(self._serve_on(self._listen()))

    async def start(self) -> None:
        await self._serve_on(self._listen())

    async def stop(self) -> None:
        await self._again
        self._close()
        self._to_server.open()
        self._to_client.open()
        await asyncio.gather(*self._links, return_exceptions=True)

    def _listen(self) -> socket.socket:
        """Clients can connect from now on; they are served a moment later."""
        listener = socket.create_server((self.address, self.port), backlog=64)
        self.port = listener.getsockname()[1]
        return listener

    async def _serve_on(self, listener: socket.socket) -> None:
        self._server = await asyncio.start_server(self._serve, sock=listener)

    def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        self._writers.add(writer)
        self.arrived += 1
        try:
            if self._garbled:
                writer.write(_GARBAGE)
                writer.write_eof()
                while await reader.read(_CHUNK):  # closed with bytes unread, the kernel would reset: no greeting at all
                    pass
            else:
                await self._pass(reader, writer)
        except OSError:
            writer.transport.abort()  # either side has gone, or the server was never there
        finally:
            self._links.discard(task)
            self._writers.discard(writer)
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(*self._target)
        self._writers.add(server_writer)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(reader, server_writer, self._to_server))
                both.create_task(_pump(server_reader, writer, self._to_client))
        except* OSError:
            writer.transport.abort()
        finally:
            self._writers.discard(server_writer)
            server_writer.close()


class _Gate:
    """Open, or shut for the time being."""

    def __init__(self) -> None:
        self._way = asyncio.Event()
        self._way.set()

    def shut(self) -> None:
        self._way.clear()

    def open(self) -> None:
        self._way.set()

    async def passed(self) -> None:
        await self._way.wait()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: _Gate) -> None:
    while data := await reader.read(_CHUNK):
        await gate.passed()
        writer.write(data)
        await writer.drain()
    await gate.passed()
    if writer.can_write_eof():
        writer.write_eof()


@asynccontextmanager
async def tcp_proxy(address: str, port: int) -> AsyncIterator[TcpProxy]:
    """On a free loopback port, which it keeps."""
    proxy = TcpProxy(address, port)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
