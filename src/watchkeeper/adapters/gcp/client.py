"""google-cloud-compute on the recorded wire: it finds the credential, keeps it fresh, builds and parses.

JSON objects come back, with the names that Google's documents use. It does NOT use the client's own connections,
retries or waiting: a long-running operation is started by one call, and what became of it is read later. The library
takes a second and 146 MB to import, so that happens with the first call.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from watchkeeper.adapters.base import Order
from watchkeeper.adapters.exchange import Exchange
from watchkeeper.adapters.gcp.config import GcpConfig
from watchkeeper.adapters.gcp.dialect import GCP
from watchkeeper.adapters.recorder import CallRecorder, Reply
from watchkeeper.adapters.sdk import SdkTransport
from watchkeeper.adapters.wire import Wire
from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import ConfigError

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

JsonObject = dict[str, JsonValue]

MAX_REPLY_BYTES = 16 << 20
"""A page of 500 instances, each with its metadata."""
COMPUTE, RESOURCE_MANAGER = "https://compute.googleapis.com", "https://cloudresourcemanager.googleapis.com"
SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


@dataclass(frozen=True, slots=True)
class Resource:
    """The body of a request, in JSON: `kind` is its message type. A field that the library does not know is refused."""

    kind: str
    body: Mapping[str, Any]


Arguments = dict[str, str | int | Resource]


@dataclass(frozen=True, slots=True)
class Request:
    """One call: `operation` is what the ledger calls it, `service` the client's name without `Client`."""

    operation: str
    service: str
    method: str
    arguments: Arguments


@dataclass(frozen=True)
class _Open:
    transport: SdkTransport
    credentials: Any
    clients: dict[str, Any] = field(default_factory=dict)


class GcpClient:
    """`credentials`: instead of the ones that Google's libraries find by themselves."""

    def __init__(
        self, name: str, config: GcpConfig, recorder: CallRecorder, clock: Clock, credentials: Credentials | None = None
    ) -> None:
        self._name, self._config, self._recorder, self._clock = name, config, recorder, clock
        self._credentials = credentials
        self._open: _Open | None = None
        self._opening = asyncio.Lock()

    async def get(self, request: Request) -> JsonObject:
        """Raises AdapterError (HttpError with its status when Google answered)."""
        opened = await self._opened()
        return await opened.transport.read(
            request.operation, lambda: _json(self._call(opened, request)), MAX_REPLY_BYTES
        )

    async def items(self, request: Request) -> tuple[JsonObject, ...]:
        """All pages of a list."""
        opened = await self._opened()

        def pages() -> tuple[JsonObject, ...]:
            return tuple(_json(each) for each in self._call(opened, request))

        return await opened.transport.read(request.operation, pages, MAX_REPLY_BYTES)

    async def document(self, operation: str, path: str) -> JsonObject:
        """What is under `/compute/v1/PATH` as it comes, with fields that the library does not know."""
        url = f"{self._config.endpoint or COMPUTE}/compute/v1/projects/{self._config.project}/{path}"
        return await self._plain(operation, "GET", url, None)

    async def granted(self, permissions: tuple[str, ...]) -> frozenset[str]:
        """Which of these the credential has in the project."""
        base = self._config.endpoint or RESOURCE_MANAGER
        url = f"{base}/v3/projects/{self._config.project}:testIamPermissions"
        found = await self._plain("project.test_permissions", "POST", url, {"permissions": [*permissions]})
        names = found.get("permissions")
        return frozenset(str(name) for name in names) if isinstance(names, list) else frozenset()

    async def write(self, request: Request, order: Order) -> Reply:
        opened = await self._opened()
        return await opened.transport.write(
            request.operation, lambda: self._call(opened, request), order.deadline, order.sending
        )

    async def close(self) -> None:
        if self._open is not None:
            await self._open.transport.close()

    async def _plain(self, operation: str, method: str, url: str, body: JsonValue) -> JsonObject:
        """By the signed session itself, for what the library has no method for."""
        opened = await self._opened()

        def call() -> JsonValue:
            session = self._client(opened, "Instances").transport._session
            found: JsonValue = session.request(method, url, json=body, timeout=self._config.reply_s).json()
            return found

        found = await opened.transport.read(operation, call, MAX_REPLY_BYTES)
        return found if isinstance(found, dict) else {}

    def _call(self, opened: _Open, request: Request) -> Any:
        """In a worker thread, without the client's retries. The time-out is for a new token: the wire has its own."""
        from google.cloud import compute_v1

        given: dict[str, Any] = {"project": self._config.project}
        for name, value in request.arguments.items():
            made = (
                getattr(compute_v1, value.kind).from_json(json.dumps(value.body))
                if isinstance(value, Resource)
                else value
            )
            given[name] = made
        method: Callable[..., Any] = getattr(self._client(opened, request.service), request.method)
        return method(request=given, retry=None, timeout=self._config.reply_s)

    def _client(self, opened: _Open, service: str) -> Any:
        """One per service: each is small, and two made at once do no harm."""
        if service not in opened.clients:
            from google.cloud import compute_v1

            from watchkeeper.adapters.requestsbridge import carry

            options = {"api_endpoint": self._config.endpoint} if self._config.endpoint else {}
            made = getattr(compute_v1, f"{service}Client")(credentials=opened.credentials, client_options=options)
            carry(made.transport._session, opened.transport)
            opened.clients[service] = made
        return opened.clients[service]

    async def _opened(self) -> _Open:
        async with self._opening:
            if self._open is None:
                found = await asyncio.to_thread(_credentials, self._config, self._credentials)
                exchange = Exchange(GCP, self._clock)
                wire = Wire(self._name, exchange, GCP, self._recorder, self._clock, reply_s=self._config.reply_s)
                self._open = _Open(SdkTransport(wire), found)
        return self._open


def _credentials(config: GcpConfig, given: Credentials | None) -> Any:
    """Raises ConfigError. The library is imported here, so that the first call's deadline does not pay for it."""
    import google.auth
    from google.auth.exceptions import GoogleAuthError

    import_module("google.cloud.compute_v1")
    if given is not None:
        return given
    try:
        found, _ = google.auth.default(scopes=SCOPES)
    except (GoogleAuthError, OSError, ValueError) as error:
        raise ConfigError(
            f"the project {config.project} cannot be reached: no credential was found ({type(error).__name__})",
            place=f"targets.gcp {config.name}",
            cause="this host has neither GOOGLE_APPLICATION_CREDENTIALS nor an attached service account",
            next_step="gcloud auth application-default login, or mount a key file; then watchkeeper adapters check",
        ) from None
    return found


def _json(message: Any) -> JsonObject:
    """Enumerations by name, and only what was there: the messages know the two apart."""
    found: JsonObject = json.loads(
        type(message).to_json(message, use_integers_for_enums=False, always_print_fields_with_no_presence=False)
    )
    return found
