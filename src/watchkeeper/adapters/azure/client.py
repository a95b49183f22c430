"""azure-mgmt-compute on the recorded wire: it finds the credential, keeps it fresh, builds and parses.

JSON objects come back, as the API writes them. It does NOT use the client's own connections, retries or polling: a
long-running operation is started by one call, and what became of it is read later.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from watchkeeper.adapters.azure.config import AzureConfig
from watchkeeper.adapters.azure.dialect import AZURE
from watchkeeper.adapters.azure.fields import JsonObject, rows, text
from watchkeeper.adapters.base import Order
from watchkeeper.adapters.exchange import Exchange
from watchkeeper.adapters.recorder import CallRecorder, Reply
from watchkeeper.adapters.sdk import SdkTransport
from watchkeeper.adapters.wire import Wire
from watchkeeper.core.clock import Clock

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

MAX_REPLY_BYTES = 16 << 20
AUTOSCALE_VERSION, PERMISSIONS_VERSION = "2022-10-01", "2022-04-01"


@dataclass(frozen=True, slots=True)
class Request:
    """One call: `operation` is what the ledger calls it, `group` and `method` the official client's names. `etag`: the
    state that the write is for."""

    operation: str
    group: str
    method: str
    arguments: tuple[str, ...]
    body: Mapping[str, Any] | None = None
    etag: str = ""


@dataclass(frozen=True)
class _Open:
    transport: SdkTransport
    client: Any
    options: Mapping[str, Any]
    """What every call is given."""


class AzureClient:
    """`credential`: instead of the one that azure-identity finds by itself."""

    def __init__(
        self,
        name: str,
        config: AzureConfig,
        recorder: CallRecorder,
        clock: Clock,
        credential: TokenCredential | None = None,
    ) -> None:
        self._name, self._config, self._recorder, self._clock = name, config, recorder, clock
        self._credential = credential
        self._open: _Open | None = None
        self._opening = asyncio.Lock()

    async def get(self, request: Request, expand: str = "") -> JsonObject:
        """Raises AdapterError (HttpError with its status when Azure answered)."""
        opened = await self._opened()
        more = {"expand": expand} if expand else {}

        def call() -> JsonObject:
            found: JsonObject = _method(opened, request)(
                *request.arguments, cls=lambda reply, *_: reply.http_response.json(), **opened.options, **more
            )
            return found

        return await opened.transport.read(request.operation, call, MAX_REPLY_BYTES)

    async def count(self, request: Request) -> int:
        """How many things all pages of a list have."""
        opened = await self._opened()

        def call() -> int:
            return sum(1 for _ in _method(opened, request)(*request.arguments, **opened.options))

        return await opened.transport.read(request.operation, call, MAX_REPLY_BYTES)

    async def autoscale_settings(self, group: str) -> list[JsonObject]:
        """Azure Monitor's, of one resource group."""
        return await self._pages(
            "autoscale.list", f"{self._scope(group)}/providers/Microsoft.Insights/autoscaleSettings", AUTOSCALE_VERSION
        )

    async def permissions(self, group: str) -> list[JsonObject]:
        """The credential's own, in a resource group, or in the subscription."""
        return await self._pages(
            "permissions.list",
            f"{self._scope(group)}/providers/Microsoft.Authorization/permissions",
            PERMISSIONS_VERSION,
        )

    async def write(self, request: Request, order: Order) -> Reply:
        opened = await self._opened()

        def call() -> object:
            given = [*request.arguments, *([request.body] if request.body is not None else [])]
            return _method(opened, request)(*given, polling=False, **opened.options, **_if_match(request.etag))

        return await opened.transport.write(request.operation, call, order.deadline, order.sending)

    async def close(self) -> None:
        if self._open is not None:
            await self._open.transport.close()

    def _scope(self, group: str) -> str:
        return f"/subscriptions/{self._config.subscription}" + (f"/resourceGroups/{group}" if group else "")

    async def _pages(self, operation: str, path: str, version: str) -> list[JsonObject]:
        """By the client's own pipeline, for what the library has no method for."""
        opened = await self._opened()

        def call() -> list[JsonObject]:
            from azure.core.rest import HttpRequest

            found: list[JsonObject] = []
            request = HttpRequest("GET", path, params={"api-version": version})
            while True:
                page: JsonValue = opened.client.send_request(request, **opened.options).json()
                whole = page if isinstance(page, dict) else {}
                found += rows(whole.get("value"))
                if not text(whole.get("nextLink")):
                    return found
                request = HttpRequest("GET", text(whole.get("nextLink")))

        return await opened.transport.read(operation, call, MAX_REPLY_BYTES)

    async def _opened(self) -> _Open:
        async with self._opening:
            if self._open is None:
                exchange = Exchange(AZURE, self._clock)
                wire = Wire(self._name, exchange, AZURE, self._recorder, self._clock, reply_s=self._config.reply_s)
                transport = SdkTransport(wire)
                client = await asyncio.to_thread(_load, self._config, transport, self._credential)
                plain = self._config.endpoint.startswith("http://")  # on this host only
                self._open = _Open(transport, client, {"enforce_https": False} if plain else {})
        return self._open


def _method(opened: _Open, request: Request) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(getattr(opened.client, request.group), request.method)
    return found


def _if_match(etag: str) -> Mapping[str, Any]:
    if not etag:
        return {}
    from azure.core import MatchConditions

    return {"etag": etag.strip('"'), "match_condition": MatchConditions.IfNotModified}


def _load(config: AzureConfig, transport: SdkTransport, given: TokenCredential | None) -> Any:
    import requests
    from azure.core.pipeline.transport import RequestsTransport
    from azure.mgmt.compute import ComputeManagementClient

    from watchkeeper.adapters.requestsbridge import carry

    if given is None:
        from azure.identity import DefaultAzureCredential

        limit = config.reply_s
        given = DefaultAzureCredential(connection_timeout=limit, read_timeout=limit, process_timeout=math.ceil(limit))
    session = requests.Session()
    carry(session, transport)
    base: dict[str, Any] = {}
    if config.endpoint:
        base = {"base_url": config.endpoint, "credential_scopes": [f"{config.endpoint}/.default"]}
    return ComputeManagementClient(
        given,
        config.subscription,
        transport=RequestsTransport(session=session),
        retry_total=0,
        **base,
    )
