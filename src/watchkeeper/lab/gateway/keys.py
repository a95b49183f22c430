"""What the admin API does to virtual keys: pure functions from the stored rows and a request to a reply and an effect.

As on the real proxy an absent field is left alone and an explicit null clears it, and unknown fields are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from pydantic import BaseModel, Field, JsonValue

from watchkeeper.lab.gateway.errors import GatewayError, bad_request, not_found
from watchkeeper.lab.gateway.rows import Effect, JsonObject, KeyRow, key_hash, token_of

ADMIN = "default_user_id"


class Change(NamedTuple):
    """A reply, and the effect it reports."""

    reply: JsonObject
    effect: Effect


class KeyFields(BaseModel):
    """The settings of a key that a caller may write."""

    key_alias: str | None = None
    max_budget: float | None = None
    budget_duration: str | None = None
    models: tuple[str, ...] = ()
    metadata: JsonObject = {}
    user_id: str | None = None
    team_id: str | None = None
    rpm_limit: int | None = None
    tpm_limit: int | None = None
    max_parallel_requests: int | None = None
    blocked: bool | None = None

    def written(self) -> dict[str, object]:
        """Only what the request carried, nulls included. A list or a map cannot be null."""
        fields = {name: getattr(self, name) for name in self.model_fields_set & KeyFields.model_fields.keys()}
        return {name: value for name, value in fields.items() if value is not None or name not in _NOT_NULL}


_NOT_NULL = frozenset({"models", "metadata"})


class NewKey(KeyFields):
    key: str | None = Field(default=None, min_length=8, pattern="^sk-")


class KeyUpdate(KeyFields):
    key: str


class KeyRef(BaseModel):
    key: str


def generate(keys: Mapping[str, KeyRow], request: NewKey, secret: str, now: datetime) -> Change:
    _check_budget(request.max_budget)
    token = key_hash(secret)
    if token in keys:
        raise bad_request(f"Key with hash {token} already exists.", param="key")
    _check_alias(keys, request.key_alias, token)
    row = KeyRow.model_validate(
        {
            **request.written(),
            "token": token,
            "key_name": f"sk-...{secret[-4:]}",
            "created_at": now,
            "updated_at": now,
            "settings_updated_at": None,
        }
    )
    wire = key_wire(row)
    reply: JsonObject = {**wire, "key": secret, "token": token, "token_id": token}
    return Change(reply, Effect(keys=(row,)))


def update(keys: Mapping[str, KeyRow], request: KeyUpdate, now: datetime) -> Change:
    _check_budget(request.max_budget)
    row = _find(keys, request.key)
    if "key_alias" in request.model_fields_set:
        _check_alias(keys, request.key_alias, row.token)
    changed = KeyRow.model_validate(
        {**row.model_dump(), **request.written(), "updated_at": now, "settings_updated_at": now}
    )
    return Change({**key_wire(changed), "key": request.key}, Effect(keys=(changed,)))


def set_blocked(keys: Mapping[str, KeyRow], request: KeyRef, *, blocked: bool, now: datetime) -> Change:
    row = _find(keys, request.key)
    changed = row.model_copy(update={"blocked": blocked, "updated_at": now, "settings_updated_at": now})
    return Change(key_wire(changed), Effect(keys=(changed,)))


def info(keys: Mapping[str, KeyRow], key: str) -> JsonObject:
    row = keys.get(token_of(key))
    if row is None:
        raise not_found("Key not found in database", param="key")
    wire = key_wire(row)
    del wire["token"]
    return {"key": key, "info": {**wire, "status": "revoked" if row.blocked else "active"}}


def page(
    keys: Iterable[KeyRow], *, number: int, size: int, full: bool, key_alias: str | None, key_hash: str | None
) -> JsonObject:
    rows = sorted(keys, key=lambda row: (row.created_at, row.token), reverse=True)
    chosen = [
        row
        for row in rows
        if (key_alias is None or row.key_alias == key_alias) and (key_hash is None or row.token == key_hash)
    ]
    part = chosen[(number - 1) * size : number * size]
    listed: list[JsonValue] = [key_wire(row) if full else row.token for row in part]
    return {
        "keys": listed,
        "total_count": len(chosen),
        "current_page": number,
        "total_pages": math.ceil(len(chosen) / size),
    }


def key_wire(row: KeyRow) -> JsonObject:
    """The row as LiteLLM's database returns it, columns that the lab does not use included."""
    return {
        **_UNUSED_COLUMNS,
        "token": row.token,
        "key_name": row.key_name,
        "key_alias": row.key_alias,
        "spend": row.spend,
        "total_spend": row.spend,
        "max_budget": row.max_budget,
        "budget_duration": row.budget_duration,
        "models": list(row.models),
        "metadata": row.metadata,
        "user_id": row.user_id,
        "team_id": row.team_id,
        "rpm_limit": row.rpm_limit,
        "tpm_limit": row.tpm_limit,
        "max_parallel_requests": row.max_parallel_requests,
        "blocked": row.blocked,
        "expires": _time(row.expires),
        "created_at": _time(row.created_at),
        "updated_at": _time(row.updated_at),
        "settings_updated_at": _time(row.settings_updated_at),
        "created_by": ADMIN,
        "updated_by": ADMIN,
    }


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat(timespec="microseconds")


def _find(keys: Mapping[str, KeyRow], key: str) -> KeyRow:
    row = keys.get(token_of(key))
    if row is None:
        raise not_found("Key not found.", param="key")
    return row


def _check_alias(keys: Mapping[str, KeyRow], alias: str | None, token: str) -> None:
    if alias is not None and any(row.key_alias == alias and row.token != token for row in keys.values()):
        raise bad_request(f"Key with alias '{alias}' already exists.", param="key_alias")


def _check_budget(budget: float | None) -> None:
    if budget is not None and not (math.isfinite(budget) and budget >= 0):
        raise GatewayError(
            400,
            f"{{'error': 'max_budget must be a non-negative finite number. Received: {budget}'}}",
            kind="auth_error",
            param="None",
        )


_UNUSED_COLUMNS: JsonObject = {
    "soft_budget_cooldown": False,
    "aliases": {},
    "config": {},
    "router_settings": None,
    "agent_id": None,
    "project_id": None,
    "permissions": {},
    "tpd_limit": None,
    "budget_reset_at": None,
    "allowed_cache_controls": [],
    "allowed_routes": [],
    "model_spend": {},
    "model_max_budget": {},
    "budget_fallbacks": {},
    "budget_id": None,
    "organization_id": None,
    "object_permission_id": None,
    "access_group_ids": [],
    "last_active": None,
    "rotation_count": 0,
    "auto_rotate": False,
    "rotation_interval": None,
    "last_rotation_at": None,
    "key_rotation_at": None,
    "budget_limits": None,
    "litellm_budget_table": None,
}
