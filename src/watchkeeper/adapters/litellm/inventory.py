"""Reads what a LiteLLM gateway has: keys, teams, deployments, fallbacks, and why some of it cannot be managed.

It changes nothing. With several workers the deployments and fallbacks are those of the worker that answered, which may
be up to 30 s behind the database.
"""

from __future__ import annotations

from urllib.parse import quote

from pydantic import JsonValue

from watchkeeper.adapters.http import HttpTarget
from watchkeeper.adapters.litellm.fields import JsonObject, member, scalar, weight_field
from watchkeeper.adapters.wire import HttpError
from watchkeeper.core.errors import AdapterError
from watchkeeper.core.model import Contract, Scalar

MAX_MODELS_BYTES = 32 << 20
"""One deployment is some 6 kB in `/model/info`."""


class Deployment(Contract):
    id: str
    group: str
    weight: Scalar
    manageable: bool
    why: str
    blocked: bool


class Inventory(Contract):
    """`keys` and `teams` are None where the gateway has no database."""

    database: bool
    keys: int | None
    teams: int | None
    deployments: tuple[Deployment, ...]

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(sorted({deployment.group for deployment in self.deployments}))


class GatewayReader:
    def __init__(self, http: HttpTarget) -> None:
        self._http = http

    async def inventory(self) -> Inventory:
        database = await self.has_database()
        return Inventory(
            database=database,
            keys=await self.count_keys() if database else None,
            teams=await self.count_teams() if database else None,
            deployments=await self.deployments(),
        )

    async def has_database(self) -> bool:
        """A gateway without one says so and answers 200; one whose database is down answers 503."""
        reply = await self._http.read("health.readiness", "/health/readiness")
        return isinstance(reply, dict) and reply.get("db") == "connected"

    async def key(self, token: str) -> JsonObject | None:
        """The row of a key, by the hash of its token; None when there is no such key (any more)."""
        reply = await self._found("key.info", "/key/info", {"key": token})
        info = member(reply, "info")
        return info if info and info.get("status") != "deleted" else None

    async def team(self, team_id: str) -> JsonObject | None:
        reply = await self._found("team.info", "/team/info", {"team_id": team_id})
        return member(reply, "team_info") or None

    async def deployment(self, model_id: str) -> Deployment | None:
        """One deployment; LiteLLM answers 400 for an id that it does not know."""
        reply = await self._found("model.info", "/model/info", {"litellm_model_id": model_id}, absent=(400, 404))
        return next((found for found in _deployments(reply) if found.id == model_id), None)

    async def deployments(self) -> tuple[Deployment, ...]:
        return _deployments(await self._http.read("model.list", "/model/info", max_bytes=MAX_MODELS_BYTES))

    async def fallbacks(self, group: str) -> tuple[str, ...]:
        reply = await self._found("fallback.get", f"/fallback/{quote(group, safe='')}")
        names = reply.get("fallback_models") if isinstance(reply, dict) else None
        return tuple(str(name) for name in names) if isinstance(names, list) else ()

    async def router_settings(self) -> JsonValue:
        """Whoever may read these is an administrator."""
        return await self._found("router.settings", "/router/settings")

    async def setting_in_yaml(self, name: str) -> bool:
        """Whether the configuration file decides about this router setting.

        Under `router_settings` the file wins over every API call. Under `litellm_settings` the first API call replaces
        the file's whole list, and nothing brings it back: a value that is there and not from the database is such.
        """
        reply = await self.router_settings()
        source = member(reply, "source").get(name)
        return source == "config" or (source != "db" and bool(member(reply, "current_values").get(name)))

    async def count_keys(self) -> int:
        reply = await self._http.read("key.list", "/key/list", {"size": "1", "page": "1"})
        return _count(reply.get("total_count") if isinstance(reply, dict) else None)

    async def count_teams(self) -> int:
        reply = await self._http.read("team.list", "/team/list", max_bytes=MAX_MODELS_BYTES)
        return _count(len(reply) if isinstance(reply, list) else None)

    async def _found(
        self, operation: str, path: str, params: dict[str, str] | None = None, absent: tuple[int, ...] = (404,)
    ) -> JsonValue:
        try:
            return await self._http.read(operation, path, params)
        except HttpError as error:
            if error.status in absent:
                return None
            raise


def _deployments(reply: JsonValue) -> tuple[Deployment, ...]:
    rows = reply.get("data") if isinstance(reply, dict) else None
    return tuple(_deployment(row) for row in rows if isinstance(row, dict)) if isinstance(rows, list) else ()


def _deployment(row: JsonObject) -> Deployment:
    info, weight = member(row, "model_info"), weight_field(row)
    return Deployment(
        id=str(scalar(info.get("id"))),
        group=str(scalar(row.get("model_name"))),
        weight=weight.value,
        manageable=weight.manageable,
        why=weight.why,
        blocked=info.get("blocked") is True,
    )


def _count(value: JsonValue) -> int:
    if not isinstance(value, int):
        raise AdapterError(
            "the gateway's list has no count that we understand",
            retryable=False,
            cause="another version of LiteLLM, or something else answers at base_url",
            next_step="see docs/adapters.md for the versions that were tried",
        )
    return value
