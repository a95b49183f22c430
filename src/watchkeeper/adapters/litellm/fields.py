"""Fields of LiteLLM's things as the core sees them, and the one API call that writes each kind of change.

Field names are LiteLLM's own. Three shapes are made equal on purpose: a key that was never blocked reads `null` and,
after an unblock, `false` (both are "not blocked"); a fallback list is its names joined by commas, none is `None`; an
absent weight cannot be restored by the API, so such a deployment is not manageable.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from pydantic import JsonValue

from watchkeeper.adapters.change import sendable
from watchkeeper.adapters.http import WriteCall
from watchkeeper.core.actions import Change, FieldState, Intent
from watchkeeper.core.errors import AdapterError
from watchkeeper.core.model import Scalar

JsonObject = dict[str, JsonValue]

KEY, TEAM, DEPLOYMENT, MODEL_GROUP = "key", "team", "deployment", "model_group"
KEY_FIELDS = ("rpm_limit", "tpm_limit", "max_parallel_requests", "max_budget")
TEAM_FIELDS = ("rpm_limit", "tpm_limit", "max_budget")
TOKEN_HASH = re.compile(r"[0-9a-f]{64}")


def scalar(value: JsonValue) -> Scalar:
    return value if isinstance(value, str | int | float | bool) else None


def key_fields(info: JsonObject, why: str = "") -> tuple[FieldState, ...]:
    """A key's limits and block; `spend` is there to be read, only LiteLLM writes it."""
    limits = tuple(_field(name, scalar(info.get(name)), why) for name in KEY_FIELDS)
    blocked = _field("blocked", info.get("blocked") is True, why)
    return (*limits, blocked, _field("spend", scalar(info.get("spend")), why or "read_only"))


def team_fields(info: JsonObject, why: str = "") -> tuple[FieldState, ...]:
    limits = tuple(_field(name, scalar(info.get(name)), why) for name in TEAM_FIELDS)
    return (*limits, _field("spend", scalar(info.get("spend")), why or "read_only"))


def weight_field(entry: JsonObject) -> FieldState:
    """The weight of one element of `/model/info`."""
    weight = scalar(member(entry, "litellm_params").get("weight"))
    why = ""
    if member(entry, "model_info").get("db_model") is not True:
        why = "model_in_yaml"
    elif weight is None:
        why = "weight_unset"
    return _field("weight", weight, why)


def fallbacks_field(names: tuple[str, ...], why: str) -> FieldState:
    return _field("fallbacks", joined(names), why)


def joined(names: tuple[str, ...]) -> str | None:
    return ",".join(names) or None


def member(value: JsonValue, name: str) -> JsonObject:
    """The object under `name`, or an empty one."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def write_call(change: Change) -> WriteCall:
    """The single call that carries `change`. Its fields all differ from what is there."""
    after: JsonObject = {f.path: f.after for f in sendable(change)}
    target = change.target.id
    match change.target.kind, change.intent:
        case "key", Intent.BLOCK:
            verb = "block" if after["blocked"] else "unblock"
            return WriteCall(f"key.{verb}", "POST", f"/key/{verb}", {"key": target})
        case "key", _:
            return WriteCall("key.update", "POST", "/key/update", {"key": target, **after})
        case "team", _:
            return WriteCall("team.update", "POST", "/team/update", {"team_id": target, **after})
        case "deployment", _:
            if after["weight"] is None:
                raise AdapterError(
                    f"the weight of deployment {target} was not changed: a weight cannot be taken away again",
                    retryable=False,
                    cause="LiteLLM ignores a null weight",
                    next_step="give the deployment a weight, then let the daemon plan again",
                )
            path = f"/model/{quote(target, safe='')}/update"
            return WriteCall("model.update", "PATCH", path, {"litellm_params": after})
        case _:
            names = after["fallbacks"]
            if not isinstance(names, str):
                return WriteCall("fallback.delete", "DELETE", f"/fallback/{quote(target, safe='')}", None)
            body: JsonObject = {"model": target, "fallback_models": list(names.split(",")), "fallback_type": "general"}
            return WriteCall("fallback.set", "POST", "/fallback", body)


def _field(path: str, value: Scalar, why: str) -> FieldState:
    return FieldState(path=path, value=value, manageable=not why, why=why)
