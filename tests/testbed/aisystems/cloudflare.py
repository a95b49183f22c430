"""Cloudflare's AI Gateway: our own fake of its part of the client API v4, after Cloudflare's SDK 5.9 and reference.

Targets: `gateway`, id `ACCOUNT/GATEWAY`; `route`, id `ACCOUNT/GATEWAY/ROUTE` (which version of a dynamic route is
deployed). Followed: paths, bearer token, the fields of a gateway and which of them an update must have, their ranges,
the shapes of routes, versions and deployments, the headers of rate limits. From memory: the codes and texts of errors.
A guess, the harsher one: an update resets the optional fields that it leaves out. There is no ETag.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import uuid4

from pydantic import JsonValue

from tests.testbed.aisystems.fake import Fake, Refusal, body_of, now
from tests.testbed.clouds.jsonserver import Reply, Request
from watchkeeper.core.model import Scalar

ACCOUNT = "3ebbcb006d4d46d7bb6a8c7f14676cb0"
_PATH = re.compile(r"/client/v4/accounts/([^/]+)/ai-gateway/gateways(?:/([^/]+))?(?:/routes(?:/([^/]+))?(?:/(.+))?)?")
REQUIRED: Mapping[str, Scalar] = {
    "cache_invalidate_on_update": False,
    "cache_ttl": 0,
    "collect_logs": True,
    "rate_limiting_interval": 0,
    "rate_limiting_limit": 0,
}
OPTIONAL: Mapping[str, JsonValue] = {
    "authentication": False,
    "guardrails": None,
    "log_management": None,
    "log_management_strategy": None,
    "logpush": False,
    "rate_limiting_technique": "fixed",
    "retry_backoff": None,
    "retry_delay": None,
    "retry_max_attempts": None,
    "spend_limits": None,
    "zdr": False,
}
_AT_LEAST_ZERO = ("cache_ttl", "rate_limiting_interval", "rate_limiting_limit")
_CHOICES = {
    "rate_limiting_technique": ("fixed", "sliding", None),
    "retry_backoff": ("constant", "linear", "exponential", None),
    "log_management_strategy": ("STOP_INSERTING", "DELETE_OLDEST", None),
}


@dataclass
class Route:
    name: str
    versions: dict[str, JsonValue]
    deployments: list[tuple[str, str, str]]
    """(id, version, when), newest first."""
    id: str = field(default_factory=lambda: uuid4().hex[:8])
    created: str = field(default_factory=now)


@dataclass
class Gateway:
    settings: dict[str, JsonValue]
    routes: dict[str, Route] = field(default_factory=dict)
    created: str = field(default_factory=now)
    modified: str = field(default_factory=now)


class CloudflareFake(Fake):
    """One account. `key` has AI Gateway Write, `reader_key` AI Gateway Read."""

    def __init__(self) -> None:
        super().__init__()
        self._gateways: dict[str, Gateway] = {}

    # Makers: each gives a whole id.

    def gateway(self, **settings: JsonValue) -> str:
        name = f"gateway-{uuid4().hex[:8]}"
        self._gateways[name] = Gateway({**REQUIRED, **OPTIONAL, **settings})
        return f"{ACCOUNT}/{name}"

    def route(self, gateway: str, *models: str) -> tuple[str, list[str]]:
        """A dynamic route with a version for each model, oldest first, the last deployed; and the versions' ids."""
        versions = {uuid4().hex: _elements(model) for model in models}
        deployments = [(uuid4().hex, one, now()) for one in reversed(versions)]
        made = Route(f"route-{uuid4().hex[:8]}", versions, deployments)
        self._gateways[gateway.split("/")[1]].routes[made.id] = made
        return f"{gateway}/{made.id}", list(versions)

    # The judge.

    def fields(self, kind: str, id_: str) -> Mapping[str, Scalar]:
        """What is not a scalar comes as JSON text. What is not there is a LookupError."""
        with self.lock:
            account, name, *route = id_.split("/")
            if account != ACCOUNT:
                raise LookupError(id_)
            gateway = self._gateways[name]
            if kind == "route":
                return {"version_id": gateway.routes[route[0]].deployments[0][1]}
            assert kind == "gateway"
            return {path: _scalar(value) for path, value in gateway.settings.items()}

    def write(self, kind: str, id_: str, values: Mapping[str, Scalar]) -> None:
        """Fields of a gateway, `version_id` of a route."""
        with self.lock:
            _, name, *route = id_.split("/")
            gateway = self._gateways[name]
            if kind == "route":
                gateway.routes[route[0]].deployments.insert(0, (uuid4().hex, str(values["version_id"]), now()))
            else:
                assert set(values) <= set(gateway.settings)
                gateway.settings |= values

    # The server.

    def answer(self, request: Request) -> Reply:
        found = super().answer(request)
        limits = {"Ratelimit": '"default";r=1199;t=300', "Ratelimit-Policy": '"default";q=1200;w=300'}
        return Reply(found.status, found.body, limits | dict(found.headers))

    def credential(self, request: Request) -> str | None:
        return request.headers.get("authorization", "").removeprefix("Bearer ")

    def unauthorized(self) -> Refusal:
        return _error(401, 10000, "Authentication error")

    def forbidden(self) -> Refusal:
        return _error(403, 10000, "Authentication error")

    def throttled(self, retry_after_s: int) -> Refusal:
        return _error(
            429,
            10429,
            "Rate limit exceeded",
            {"Ratelimit": f'"default";r=0;t={retry_after_s}', "Retry-After": str(retry_after_s)},
        )

    def handle(self, request: Request) -> Reply:
        found = _PATH.fullmatch(request.path)
        if found is None:
            raise _error(404, 7003, "Could not route to the requested path")
        account, name, route, rest = found.groups()
        if account != ACCOUNT:
            raise self.forbidden()
        if name is None:
            return self._list(request)
        gateway = self._gateways.get(name)
        if gateway is None:
            raise _error(404, 7002, "Gateway not found")
        if "/routes" in request.path:
            return _routes(request, name, gateway, route, rest)
        if request.method == "PUT":
            _update(gateway, body_of(request, _error(400, 7001, "Invalid JSON")))
        elif request.method != "GET":
            raise _error(405, 7004, "Method not allowed")
        return _result(_gateway(name, gateway))

    def _list(self, request: Request) -> Reply:
        page, size = int(request.query.get("page", "1")), int(request.query.get("per_page", "20"))
        names = [name for name in sorted(self._gateways) if request.query.get("search", "") in name]
        shown = [_gateway(name, self._gateways[name]) for name in names[(page - 1) * size : page * size]]
        info: JsonValue = {"count": len(shown), "page": page, "per_page": size, "total_count": len(names)}
        return _result(list[JsonValue](shown), result_info=info)


def _update(gateway: Gateway, body: dict[str, JsonValue]) -> None:
    for name in REQUIRED:
        if name not in body:
            raise _error(400, 7001, f"Required: {name}")
    after: dict[str, JsonValue] = {name: body.get(name, OPTIONAL.get(name)) for name in (*REQUIRED, *OPTIONAL)}
    for name in _AT_LEAST_ZERO:
        value = after[name]
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            raise _error(400, 7001, f"Number must be greater than or equal to 0: {name}")
    for name, choices in _CHOICES.items():
        if after[name] not in choices:
            raise _error(400, 7001, f"Invalid enum value: {name}")
    gateway.settings, gateway.modified = after, now()


def _routes(request: Request, name: str, gateway: Gateway, id_: str | None, rest: str | None) -> Reply:
    if id_ is None and request.method == "GET":
        return _data("routes", [_route(name, one) for one in gateway.routes.values()])
    found = gateway.routes.get(id_ or "")
    if found is None:
        raise _error(404, 7002, "Route not found")
    match request.method, *(rest or "").split("/"):
        case "GET", "":
            return _result(_route(name, found))
        case "GET", "versions":
            return _data("versions", [_version(found, one) for one in reversed(found.versions)])
        case "GET", "versions", version if version in found.versions:
            return _result(_version(found, version))
        case "GET", "deployments":
            return _data("deployments", [_deployment(one) for one in found.deployments])
        case "POST", "deployments":
            wanted = body_of(request, _error(400, 7001, "Invalid JSON")).get("version_id")
            if wanted not in found.versions:
                raise _error(404, 7002, "Version not found")
            found.deployments.insert(0, (uuid4().hex, str(wanted), now()))
            return _result(_route(name, found))
    raise _error(404, 7003, "Could not route to the requested path")


def _scalar(value: JsonValue) -> Scalar:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value


def _gateway(name: str, gateway: Gateway) -> JsonValue:
    stamps: dict[str, JsonValue] = {"created_at": gateway.created, "modified_at": gateway.modified}
    return {"id": name, **gateway.settings, **stamps}


def _route(gateway: str, route: Route) -> JsonValue:
    deployed = route.deployments[0]
    return {
        "id": route.id,
        "account_tag": ACCOUNT,
        "gateway_id": gateway,
        "name": route.name,
        "created_at": route.created,
        "modified_at": deployed[2],
        "elements": route.versions[deployed[1]],
        "deployment": _deployment(deployed),
        "version": _version(route, deployed[1]),
    }


def _version(route: Route, version: str) -> JsonValue:
    active = "true" if route.deployments[0][1] == version else "false"
    data = json.dumps(route.versions[version])
    return {"version_id": version, "active": active, "created_at": route.created, "data": data}


def _deployment(deployment: tuple[str, str, str]) -> JsonValue:
    id_, version, at = deployment
    return {"deployment_id": id_, "version_id": version, "created_at": at}


def _elements(model: str) -> JsonValue:
    properties: JsonValue = {"provider": "openai", "model": model, "retries": 1, "timeout": 30000}
    ends: JsonValue = {"success": {"elementId": "end"}, "fallback": {"elementId": "end"}}
    return [
        {"id": "start", "type": "start", "outputs": {"next": {"elementId": "model"}}},
        {"id": "model", "type": "model", "properties": properties, "outputs": ends},
        {"id": "end", "type": "end", "outputs": {}},
    ]


def _result(result: JsonValue, **more: JsonValue) -> Reply:
    return Reply(200, {"success": True, "errors": [], "messages": [], "result": result, **more})


def _data(name: str, found: list[JsonValue]) -> Reply:
    """Lists of routes, versions and deployments have a page of their own kind inside, and no `result`."""
    page: JsonValue = {"order_by": "created_at", "order_by_direction": "desc", "page": 1, "per_page": 20, name: found}
    return Reply(200, {"success": True, "data": page})


def _error(status: int, code: int, message: str, headers: Mapping[str, str] | None = None) -> Refusal:
    error: JsonValue = {"code": code, "message": message}
    return Refusal(status, {"success": False, "errors": [error], "messages": [], "result": None}, headers)
