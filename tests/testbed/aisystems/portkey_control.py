"""Portkey's hosted control plane: our own fake of its Admin API, after its OpenAPI document and SDK 2.3.

Targets: `config` (a slug), `api_key` (an id), `provider` (a slug, the successor of virtual keys). Followed: paths
below /v1, x-portkey-api-key, the fields of each, that every update of a config makes a version, the versions' list, the
codes of errors (AB01 to AB09) and their statuses. The documents disagree on whether a single config comes bare (the
SDK) or as `data` beside `success` (the pages): `wrapped` chooses. From memory: the body of an error. Guesses: an update
leaves out what stays; [] or null takes limits away. A 429 has no documented Retry-After. No ETag, no idempotency keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import uuid4

from pydantic import JsonValue

from tests.testbed.aisystems.fake import Fake, Refusal, body_of, now
from tests.testbed.clouds.jsonserver import JsonObject, Reply, Request
from watchkeeper.core.model import Scalar

_PATH = re.compile(r"/v1/(configs|api-keys|providers)(?:/([^/]+))?(/versions)?")
_TYPES, _UNITS = ("requests", "tokens"), ("rpm", "rph", "rpd", "rps", "rpw")
_LIMITS: Mapping[str, Scalar] = {"credit_limit": None, "alert_threshold": None, "periodic_reset": None}


@dataclass
class Config:
    name: str
    versions: list[JsonObject]
    """What each held, oldest first."""
    ids: list[str]
    status: str = "active"
    id: str = field(default_factory=lambda: str(uuid4()))
    created: str = field(default_factory=now)
    updated: str = field(default_factory=now)


@dataclass
class Limited:
    """An API key, or a provider."""

    name: str
    rate_limits: list[JsonObject] = field(default_factory=list)
    usage_limits: JsonObject | None = None
    status: str = "active"
    created: str = field(default_factory=now)
    updated: str = field(default_factory=now)


class PortkeyControlFake(Fake):
    """`key` has every scope, `reader_key` those that end in .read and .list."""

    def __init__(self) -> None:
        super().__init__()
        self.wrapped = False
        self._configs: dict[str, Config] = {}
        self._limited: dict[str, dict[str, Limited]] = {"api-keys": {}, "providers": {}}

    # Makers.

    def config(self, *versions: JsonObject) -> str:
        """A config with these versions, oldest first: its slug."""
        slug = f"pc-{uuid4().hex[:8]}"
        self._configs[slug] = Config(slug, list(versions), [str(uuid4()) for _ in versions])
        return slug

    def api_key(self, rpm: int | None = None, credit: int | None = None) -> str:
        return self._make("api-keys", str(uuid4()), rpm, credit)

    def provider(self, rpm: int | None = None, credit: int | None = None) -> str:
        return self._make("providers", f"openai-{uuid4().hex[:6]}", rpm, credit)

    def _make(self, kind: str, id_: str, rpm: int | None, credit: int | None) -> str:
        rate: list[JsonObject] = [] if rpm is None else [{"type": "requests", "unit": "rpm", "value": rpm}]
        usage: JsonObject | None = None if credit is None else {"credit_limit": credit, "periodic_reset": "monthly"}
        self._limited[kind][id_] = Limited(id_, rate, usage)
        return id_

    # The judge.

    def fields(self, kind: str, id_: str) -> Mapping[str, Scalar]:
        """Of a config its text as canonical JSON and its `status`; of a key or provider each limit, None for none. What
        is not there is a LookupError."""
        with self.lock:
            if kind == "config":
                config = self._configs[id_]
                return {"config": json.dumps(config.versions[-1], sort_keys=True), "status": config.status}
            found = self._limited[_plural(kind)][id_]
            named = {(one["type"], one["unit"]): one["value"] for one in found.rate_limits}
            rate = {f"{kind_}_{unit}": _number(named.get((kind_, unit))) for kind_ in _TYPES for unit in _UNITS}
            usage = {name: _number((found.usage_limits or {}).get(name)) for name in _LIMITS}
            return {**rate, **usage, "status": found.status}

    def write(self, kind: str, id_: str, values: Mapping[str, Scalar]) -> None:
        """`config` as JSON text; a limit by the name that `fields` gives it."""
        with self.lock:
            if kind == "config":
                config = self._configs[id_]
                config.versions.append(json.loads(str(values["config"])))
                config.ids.append(str(uuid4()))
                return
            found = self._limited[_plural(kind)][id_]
            after = {**self.fields(kind, id_), **values}
            names = [(one, unit) for one in _TYPES for unit in _UNITS if after[f"{one}_{unit}"] is not None]
            found.rate_limits = [{"type": one, "unit": unit, "value": after[f"{one}_{unit}"]} for one, unit in names]
            usage: JsonObject = {name: after[name] for name in _LIMITS if after[name] is not None}
            found.usage_limits = usage or None

    # The server.

    def credential(self, request: Request) -> str | None:
        return request.headers.get("x-portkey-api-key")

    def unauthorized(self) -> Refusal:
        return _error(401, "AB05", "Unauthorized access")

    def forbidden(self) -> Refusal:
        return _error(403, "AB03", "User not allowed to access the resource")

    def throttled(self, retry_after_s: int) -> Refusal:
        return _error(429, "AB06", "Rate limit exceeded")

    def handle(self, request: Request) -> Reply:
        found = _PATH.fullmatch(request.path)
        if found is None or request.method not in ("GET", "PUT"):
            raise _error(404, "AB08", "Resource not found")
        if found[1] == "configs":
            return self._config(request, found[2], versions=bool(found[3]))
        return self._limits(request, found[1], found[2])

    def _config(self, request: Request, slug: str | None, *, versions: bool) -> Reply:
        if slug is None:
            return _list([_config(one, config, -1) for one, config in self._configs.items()])
        config = self._configs.get(slug)
        if config is None:
            raise _error(404, "AB08", "Resource not found")
        if versions:
            return _list([_config(slug, config, at) for at in reversed(range(len(config.versions)))])
        if request.method == "GET":
            return self._one(_config(slug, config, -1))
        body = body_of(request, _error(400, "AB01", "Request Validation Error"))
        after = body.get("config")
        if after is not None and not isinstance(after, dict):
            raise _error(400, "AB01", "Request Validation Error")
        if after is not None:
            config.versions.append(after)
            config.ids.append(str(uuid4()))
        config.status, config.updated = str(body.get("status") or config.status), now()
        return self._one({"version_id": config.ids[-1], "object": "config"})

    def _one(self, found: JsonObject) -> Reply:
        return Reply(200, {"success": True, "data": found} if self.wrapped else found)

    def _limits(self, request: Request, kind: str, id_: str | None) -> Reply:
        if id_ is None:
            return _list([_shown(kind, one, found) for one, found in self._limited[kind].items()])
        found = self._limited[kind].get(id_)
        if found is None:
            raise _error(404, "AB08", "Resource not found")
        if request.method == "GET":
            return Reply(200, _shown(kind, id_, found))
        body = body_of(request, _error(400, "AB01", "Request Validation Error"))
        if "rate_limits" in body:
            found.rate_limits = _rate_limits(body["rate_limits"])
        if "usage_limits" in body:
            usage = body["usage_limits"]
            if usage is not None and not isinstance(usage, dict):
                raise _error(400, "AB01", "Request Validation Error")
            found.usage_limits = usage or None
        found.updated = now()
        return Reply(200, {"success": True, "data": {}})


def _rate_limits(given: JsonValue) -> list[JsonObject]:
    limits: list[JsonObject] = []
    for one in given if isinstance(given, list) else [] if given is None else [given]:
        known = isinstance(one, dict) and one.get("type") in _TYPES and one.get("unit") in _UNITS
        if not isinstance(one, dict) or not known or not isinstance(one.get("value"), int):
            raise _error(400, "AB01", "Request Validation Error")
        limits.append(one)
    return limits


def _config(slug: str, config: Config, at: int) -> JsonObject:
    return {
        "id": config.id,
        "slug": slug,
        "name": config.name,
        "is_default": 0,
        "status": config.status,
        "created_at": config.created,
        "last_updated_at": config.updated,
        "config": json.dumps(config.versions[at]),
        "format": "json",
        "type": "ORG_CONFIG",
        "version_id": config.ids[at],
        "object": "config",
    }


def _shown(kind: str, id_: str, found: Limited) -> JsonObject:
    return {
        "id" if kind == "api-keys" else "slug": id_,
        "name": found.name,
        "status": found.status,
        "rate_limits": list[JsonValue](found.rate_limits),
        "usage_limits": found.usage_limits,
        "created_at": found.created,
        "last_updated_at": found.updated,
        "object": "api-key" if kind == "api-keys" else "provider",
    }


def _list(found: list[JsonObject]) -> Reply:
    return Reply(200, {"object": "list", "total": len(found), "data": list[JsonValue](found)})


def _plural(kind: str) -> str:
    return {"api_key": "api-keys", "provider": "providers"}[kind]


def _number(value: JsonValue) -> Scalar:
    assert not isinstance(value, dict | list)
    return value


def _error(status: int, code: str, message: str) -> Refusal:
    return Refusal(status, {"success": False, "data": {"message": message, "errorCode": code}})
