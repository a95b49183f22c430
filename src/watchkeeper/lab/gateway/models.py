"""What the admin API does to deployments and fallbacks: pure functions from rows and a request to a reply and effect.

A deployment from the configuration file is refused as the real proxy refuses it. A null `weight` is ignored, as the
real proxy ignores it: a weight, once set, can be changed but not cleared.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from watchkeeper.core.model import format_instant
from watchkeeper.lab.gateway.errors import DetailError, GatewayError, bad_request, not_found
from watchkeeper.lab.gateway.keys import ADMIN, Change
from watchkeeper.lab.gateway.rows import Effect, JsonObject, ModelRow

FallbackType = Literal["general", "context_window", "content_policy"]


class ModelParams(BaseModel):
    """`litellm_params` as far as the lab reads them. A provider's `api_key` is accepted and not kept."""

    model: str | None = None
    api_base: str | None = None
    weight: float | None = Field(default=None, ge=0)
    rpm: int | None = None
    tpm: int | None = None
    input_cost_per_token: float | None = Field(default=None, ge=0)
    output_cost_per_token: float | None = Field(default=None, ge=0)


class NewModelParams(ModelParams):
    model: str
    api_base: str


class ModelInfo(BaseModel):
    id: str | None = None


class NewModel(BaseModel):
    model_name: str
    litellm_params: NewModelParams
    model_info: ModelInfo = ModelInfo()


class ModelPatch(BaseModel):
    model_name: str | None = None
    litellm_params: ModelParams | None = None
    model_info: ModelInfo | None = None
    blocked: bool | None = None


class ModelId(BaseModel):
    id: str


class ModelRef(BaseModel):
    model_id: str


class NewFallback(BaseModel):
    model: str
    fallback_models: tuple[str, ...] = Field(min_length=1)
    fallback_type: FallbackType = "general"


def create(models: Mapping[str, ModelRow], request: NewModel, fresh_id: str, now: datetime) -> Change:
    model_id = request.model_info.id or fresh_id
    if model_id in models:
        message = "{'error': 'Failed to add model to db. Check your server logs for more details.'}"
        raise GatewayError(500, message, kind="auth_error")
    row = ModelRow.model_validate(
        {
            **request.litellm_params.model_dump(exclude_none=True),
            "model_id": model_id,
            "model_name": request.model_name,
            "created_at": now,
            "updated_at": now,
        }
    )
    return Change(model_row_wire(row), Effect(models=(row,)))


def patch(models: Mapping[str, ModelRow], model_id: str, request: ModelPatch, now: datetime) -> Change:
    row = models.get(model_id)
    if row is None:
        raise not_found(f"Model {model_id} not found on proxy.")
    if not row.db_model:
        raise GatewayError(
            400,
            "Cannot edit config-based model. Store model in DB via /model/new first.",
            kind="validation_error",
        )
    return _changed(row, request, now)


def replace(models: Mapping[str, ModelRow], request: ModelPatch, now: datetime) -> Change:
    """The old `POST /model/update`; it changes what the patch changes and refuses in other words."""
    model_id = request.model_info.id if request.model_info else None
    if model_id is None:
        raise bad_request("Authentication Error, model_info.id not provided", kind="auth_error")
    row = models.get(model_id)
    if row is None:
        raise bad_request("Authentication Error, model not found", kind="auth_error")
    if not row.db_model:
        raise bad_request(
            "{'error': \"Can't edit model. Model in config. Store model in db via `/model/new`. to edit.\"}",
            kind="auth_error",
        )
    if request.litellm_params is None:
        raise bad_request("Authentication Error, litellm_params not provided", kind="auth_error")
    return _changed(row, request, now)


def set_blocked(models: Mapping[str, ModelRow], request: ModelRef, *, blocked: bool, now: datetime) -> Change:
    return patch(models, request.model_id, ModelPatch(blocked=blocked), now)


def delete(models: Mapping[str, ModelRow], request: ModelId) -> Change:
    row = models.get(request.id)
    if row is None or not row.db_model:
        raise bad_request(f"{{'error': 'Model with id={request.id} not found in db'}}", kind="auth_error")
    return Change({"message": f"Model: {request.id} deleted successfully"}, Effect(removed_models=(request.id,)))


def listing(models: Mapping[str, ModelRow], model_id: str | None) -> JsonObject:
    if model_id is None:
        return {"data": [model_info_wire(row) for row in models.values()]}
    row = models.get(model_id)
    if row is None:
        raise DetailError(400, f"Model id = {model_id} not found on litellm proxy")
    return {"data": [model_info_wire(row)]}


def set_fallback(fallbacks: Mapping[str, tuple[str, ...]], names: list[str], request: NewFallback) -> Change:
    unknown = [name for name in request.fallback_models if name not in names]
    if request.model not in names:
        raise DetailError(404, f"Model '{request.model}' not found in router", available_models=names)
    if unknown:
        raise DetailError(400, f"Invalid fallback models: {unknown}", available_models=names)
    if request.model in request.fallback_models:
        raise DetailError(400, f"Model '{request.model}' cannot be its own fallback")
    verb = "updated" if request.model in fallbacks else "created"
    reply: JsonObject = {
        "model": request.model,
        "fallback_models": list(request.fallback_models),
        "fallback_type": request.fallback_type,
        "message": f"Fallback configuration {verb} successfully",
    }
    if request.fallback_type != "general":
        return Change(reply, Effect())
    return Change(reply, Effect(fallbacks={**fallbacks, request.model: request.fallback_models}))


def get_fallback(fallbacks: Mapping[str, tuple[str, ...]], model: str, kind: FallbackType) -> JsonObject:
    listed = fallbacks.get(model) if kind == "general" else None
    if listed is None:
        raise DetailError(404, f"No {kind} fallbacks configured for model '{model}'")
    return {"model": model, "fallback_models": list(listed), "fallback_type": kind}


def drop_fallback(fallbacks: Mapping[str, tuple[str, ...]], model: str, kind: FallbackType) -> Change:
    get_fallback(fallbacks, model, kind)
    reply: JsonObject = {
        "model": model,
        "fallback_type": kind,
        "message": "Fallback configuration deleted successfully",
    }
    left = {name: listed for name, listed in fallbacks.items() if name != model}
    return Change(reply, Effect(fallbacks=left))


def _changed(row: ModelRow, request: ModelPatch, now: datetime) -> Change:
    params = request.litellm_params.model_dump(exclude_none=True) if request.litellm_params else {}
    top = request.model_dump(include={"model_name", "blocked"}, exclude_none=True)
    changed = ModelRow.model_validate({**row.model_dump(), **params, **top, "updated_at": now})
    return Change(model_row_wire(changed), Effect(models=(changed,)))


def _params_wire(row: ModelRow) -> JsonObject:
    optional: JsonObject = {"weight": row.weight, "rpm": row.rpm, "tpm": row.tpm}
    return {
        **{name: value for name, value in optional.items() if value is not None},
        "input_cost_per_token": row.input_cost_per_token,
        "output_cost_per_token": row.output_cost_per_token,
        "api_base": row.api_base,
        "use_in_pass_through": False,
        "use_litellm_proxy": False,
        "merge_reasoning_content_in_choices": False,
        "model": row.model,
    }


def model_info_wire(row: ModelRow) -> JsonObject:
    """One element of `/model/info`."""
    return {
        "model_name": row.model_name,
        "litellm_params": _params_wire(row),
        "model_info": {
            "id": row.model_id,
            "db_model": row.db_model,
            **({"blocked": bool(row.blocked)} if row.db_model else {}),
            "key": row.model,
            "input_cost_per_token": row.input_cost_per_token,
            "output_cost_per_token": row.output_cost_per_token,
            "litellm_provider": row.provider,
            "mode": "chat",
        },
    }


def model_row_wire(row: ModelRow) -> JsonObject:
    """A database row, as `/model/new` and the updates return it: texts encrypted, `db_model` false in every case."""
    return {
        "model_id": row.model_id,
        "model_name": row.model_name,
        "litellm_params": {
            name: "encrypted" if isinstance(value, str) else value for name, value in _params_wire(row).items()
        },
        "model_info": {"id": row.model_id, "db_model": False},
        "blocked": bool(row.blocked),
        "created_at": format_instant(row.created_at),
        "created_by": ADMIN,
        "updated_at": format_instant(row.updated_at),
        "updated_by": ADMIN,
    }
