"""Official clients over the recorded wire: they build, sign and parse; we record, send, and say what an end means.

An official client is blocking code. It runs in a worker thread, and each HTTP request that it makes is handed back to
the event loop, where `Wire` sends it under the claim and the deadline of the operation it belongs to. So every client
meets faults in the same way, and none of them retries by itself. `SdkTransport.exchange` is what a client's own
transport is replaced by; how, is a few lines in each adapter's client.py.
It does NOT cover what a client sends by other ways to get its credential (a metadata server, a token service).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import httpx

from watchkeeper.adapters.exchange import MAX_REPLY_BYTES
from watchkeeper.adapters.recorder import Reply
from watchkeeper.adapters.wire import Wire
from watchkeeper.core.errors import AdapterError

T = TypeVar("T")

MAX_EXCHANGES = 50
"""Pages of one read; a target with more is refused, not read for ever."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the official client gets to see. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class _Operation:
    name: str
    loop: asyncio.AbstractEventLoop
    deadline: datetime | None = None
    sending: Callable[[], None] = lambda: None
    max_bytes: int = MAX_REPLY_BYTES
    reply: Reply | None = None
    error: Exception | None = None
    exchanges: int = 0


_operation: ContextVar[_Operation] = ContextVar("watchkeeper_sdk_operation")


class SdkStop(Exception):
    """Passes through an official client, which may wrap it; what really happened is kept beside."""


class SdkTransport:
    """One target's official client, whatever it is, on the wire."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def close(self) -> None:
        await self._wire.close()

    async def read(self, name: str, call: Callable[[], T], max_bytes: int = MAX_REPLY_BYTES) -> T:
        """What the client's `call` returns. Raises AdapterError (HttpError when the target answered with an error)."""
        operation = _Operation(name, asyncio.get_running_loop(), max_bytes=max_bytes)
        return await self._run(operation, call)

    async def write(
        self, name: str, call: Callable[[], object], deadline: datetime, sending: Callable[[], None]
    ) -> Reply:
        """Sends the one request that `call` makes; see `Wire.write` for what the reply and the errors mean."""
        operation = _Operation(name, asyncio.get_running_loop(), deadline=deadline, sending=sending)
        try:
            await self._run(operation, call)
        except AdapterError:
            if operation.reply is None:
                raise
        if operation.reply is None:
            raise AdapterError(
                f"{name}: the client made no request to {self._wire.name}",
                retryable=False,
                cause="a bug in the adapter: the official client answered by itself",
                next_step="report this as a bug",
            )
        return operation.reply

    async def _run(self, operation: _Operation, call: Callable[[], T]) -> T:
        token = _operation.set(operation)
        try:
            return await asyncio.to_thread(call)
        except Exception as error:
            if operation.error is not None:
                raise operation.error from None
            raise _clients_own(operation, self._wire.name, error) from None
        finally:
            _operation.reset(token)

    def exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Called by the official client, in its thread: one HTTP request there and back. Raises SdkStop."""
        operation = _operation.get()
        operation.exchanges += 1
        request = httpx.Request(method, url, headers=dict(headers), content=body)
        work = asyncio.run_coroutine_threadsafe(self._exchange(operation, request), operation.loop)
        reply = work.result()
        if reply is None or reply.status is None or reply.result != "ok":
            raise SdkStop
        return Answer(reply.status, dict(reply.headers), reply.body)

    async def _exchange(self, operation: _Operation, request: httpx.Request) -> Reply | None:
        try:
            _bound(operation, self._wire.name)
            if operation.deadline is None:
                return await self._wire.read(operation.name, request, operation.max_bytes)
            operation.reply = await self._wire.write(operation.name, request, operation.deadline, operation.sending)
        except Exception as error:
            operation.error = error
            return None
        return operation.reply


def _bound(operation: _Operation, name: str) -> None:
    """One effect is one request; a read may be many pages, but not for ever."""
    if operation.exchanges > (1 if operation.deadline is not None else MAX_EXCHANGES):
        raise AdapterError(
            f"{operation.name}: the client of {name} wants to send more than it may",
            retryable=False,
            cause="it retries by itself, or a list has too many pages",
            next_step="report this as a bug",
        )


def _clients_own(operation: _Operation, name: str, error: Exception) -> AdapterError:
    """The client itself gave up, before a request or after a reply: no credential, a reply it does not understand.
    Its words may hold anything, so they are not repeated."""
    return AdapterError(
        f"{operation.name}: the official client of {name} failed ({type(error).__name__})",
        retryable=False,
        cause="it has no credential, or it does not understand what the target answered",
        next_step="watchkeeper adapters check; see docs/adapters.md",
    )
