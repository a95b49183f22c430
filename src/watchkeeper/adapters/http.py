"""A JSON API as a target: paths, parameters and bodies, with one credential, over the recorded wire."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from datetime import datetime

import httpx
from pydantic import JsonValue, SecretStr

from watchkeeper.adapters.dialect import Dialect
from watchkeeper.adapters.exchange import MAX_REPLY_BYTES, Exchange
from watchkeeper.adapters.recorder import CallRecorder, Reply
from watchkeeper.adapters.wire import SYSTEM_RANDOM, Wire
from watchkeeper.core.clock import Clock


@dataclass(frozen=True, slots=True)
class WriteCall:
    """One write: `operation` is what the ledger calls it."""

    operation: str
    method: str
    path: str
    body: JsonValue


class Credential(httpx.Auth):
    """A header with a secret in it; the secret leaves this object only there. `prefix` stands before it."""

    def __init__(self, key: SecretStr, header: str = "Authorization", prefix: str = "Bearer ") -> None:
        self._key, self._header, self._prefix = key, header, prefix

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers[self._header] = self._prefix + self._key.get_secret_value()
        yield request


class HttpTarget:
    """One base URL with one credential, which leaves this object only as a request header."""

    def __init__(
        self,
        name: str,
        base_url: str,
        auth: httpx.Auth,
        dialect: Dialect,
        recorder: CallRecorder,
        clock: Clock,
        *,
        reply_s: float,
        jitter: Callable[[], float] = SYSTEM_RANDOM.random,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.name = name
        exchange = Exchange(dialect, clock, base_url=base_url, auth=auth, transport=transport)
        self._client = exchange.client
        self._wire = Wire(name, exchange, dialect, recorder, clock, reply_s=reply_s, jitter=jitter)

    async def close(self) -> None:
        await self._wire.close()

    async def read(
        self, operation: str, path: str, params: Mapping[str, str] | None = None, *, max_bytes: int = MAX_REPLY_BYTES
    ) -> JsonValue:
        """The JSON at `path`. Raises AdapterError (HttpError with its status when the target answered)."""
        request = self._client.build_request("GET", path, params=dict(params or {}))
        reply = await self._wire.read(operation, request, max_bytes)
        value: JsonValue = json.loads(reply.body) if reply.body else None
        return value

    async def write(
        self, call: WriteCall, deadline: datetime, *, headers: Mapping[str, str], sending: Callable[[], None]
    ) -> Reply:
        """Sends once; see `Wire.write` for what the reply and the errors mean."""
        request = self._client.build_request(call.method, call.path, json=call.body, headers=dict(headers))
        return await self._wire.write(call.operation, request, deadline, sending)
