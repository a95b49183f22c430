"""The official Python client on the recorded wire: it reads kubeconfigs, keeps tokens fresh and builds requests.

JSON objects come back, of whatever version the server speaks: typed models of one version would not fit an older one.
It does NOT use the client's own connections, retries or discovery cache.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from watchkeeper.adapters.base import Order
from watchkeeper.adapters.exchange import Exchange
from watchkeeper.adapters.kubernetes.config import KubernetesConfig
from watchkeeper.adapters.kubernetes.dialect import KUBERNETES
from watchkeeper.adapters.kubernetes.objects import JsonObject
from watchkeeper.adapters.recorder import CallRecorder, Reply
from watchkeeper.adapters.sdk import Answer, SdkTransport
from watchkeeper.adapters.wire import Wire
from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import ConfigError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

MAX_LIST_BYTES = 16 << 20
JSON, APPLY, JSON_PATCH = "application/json", "application/apply-patch+yaml", "application/json-patch+json"


@dataclass(frozen=True, slots=True)
class Request:
    """One call: `operation` is what the ledger calls it."""

    operation: str
    method: str
    path: str
    body: JsonValue = None
    query: tuple[tuple[str, str], ...] = ()
    content_type: str = JSON


class KubernetesClient:
    def __init__(self, name: str, config: KubernetesConfig, recorder: CallRecorder, clock: Clock) -> None:
        self._name, self._config, self._recorder, self._clock = name, config, recorder, clock
        self._open: tuple[SdkTransport, ApiClient] | None = None
        self._opening = asyncio.Lock()

    async def get(self, operation: str, path: str, query: Mapping[str, str] | None = None) -> JsonObject:
        """The object at `path`. Raises AdapterError (HttpError with its status when the server answered)."""
        return await self._read(Request(operation, "GET", path, query=tuple((query or {}).items())))

    async def ask(self, operation: str, path: str, body: JsonObject) -> JsonObject:
        """A question that is posted, such as an access review: it changes nothing."""
        return await self._read(Request(operation, "POST", path, body))

    async def write(self, request: Request, order: Order) -> Reply:
        transport, client = await self._opened()
        return await transport.write(request.operation, _call(client, request), order.deadline, order.sending)

    async def close(self) -> None:
        if self._open is not None:
            await self._open[0].close()

    async def _read(self, request: Request) -> JsonObject:
        transport, client = await self._opened()
        body = await transport.read(request.operation, _call(client, request), MAX_LIST_BYTES)
        found: JsonValue = json.loads(body)
        return found if isinstance(found, dict) else {}

    async def _opened(self) -> tuple[SdkTransport, ApiClient]:
        async with self._opening:
            if self._open is None:
                client, tls = await asyncio.to_thread(_load, self._config)
                exchange = Exchange(KUBERNETES, self._clock, tls=tls)
                wire = Wire(self._name, exchange, KUBERNETES, self._recorder, self._clock, reply_s=self._config.reply_s)
                transport = SdkTransport(wire)
                vars(client)["rest_client"] = _Rest(transport)
                self._open = transport, client
        return self._open


class _Rest:
    """Stands where the client's own connections would."""

    def __init__(self, transport: SdkTransport) -> None:
        self._transport = transport

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: object = None,
        post_params: Collection[object] | None = None,
        _request_timeout: object = None,
    ) -> Answer:
        content = b"" if body is None else json.dumps(body).encode()
        return self._transport.exchange(method, url, headers or {}, content)


def _call(client: ApiClient, request: Request) -> Callable[[], bytes]:
    def call() -> bytes:
        headers = {"Accept": "application/json"}
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        built = client.param_serialize(
            request.method,
            request.path,
            query_params=list(request.query),
            header_params=headers,
            body=request.body,
            auth_settings=["BearerToken"],
        )
        answer: Any = client.call_api(*built)
        body: bytes = answer.body
        return body

    return call


def _load(config: KubernetesConfig) -> tuple[ApiClient, ssl.SSLContext]:
    """Raises ConfigError."""
    from kubernetes import client
    from kubernetes import config as untyped

    loaders: Any = untyped
    made: Any = client.Configuration()
    made.retries = False
    try:
        if config.in_cluster:
            loaders.load_incluster_config(client_configuration=made)
        else:
            loaders.load_kube_config(
                config_file=str(config.kubeconfig),
                context=config.context or None,
                client_configuration=made,
                persist_config=False,
            )
    except (loaders.ConfigException, OSError, ValueError) as error:
        raise ConfigError(
            f"the cluster {config.name} cannot be reached: its credential cannot be read ({type(error).__name__})",
            place=f"targets.kubernetes {config.name}",
            cause="the kubeconfig or its context is not there, or this is no pod with a ServiceAccount",
            next_step="kubectl config get-contexts --kubeconfig FILE",
        ) from None
    if not made.verify_ssl:
        raise ConfigError(
            f"the cluster {config.name} is not asked: its kubeconfig skips TLS verification",
            place=f"targets.kubernetes {config.name}",
            cause="whoever stands in between could answer for the cluster",
            next_step="put the cluster's certificate-authority-data into the kubeconfig",
        )
    return client.ApiClient(made), _tls(made)


def _tls(made: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=made.ssl_ca_cert)
    if made.cert_file:
        context.load_cert_chain(made.cert_file, made.key_file)
    return context
