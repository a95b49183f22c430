"""The gateway's rows: virtual keys, deployments, and what one admin write changes.

Rows are values: a write makes new ones. They hold a key's hash, never the key, and no provider credential.
"""

from __future__ import annotations

import hashlib

from pydantic import Field, JsonValue

from watchkeeper.core.model import Contract, Instant

JsonObject = dict[str, JsonValue]


def key_hash(key: str) -> str:
    """LiteLLM's token: the SHA-256 hex digits of the virtual key."""
    return hashlib.sha256(key.encode()).hexdigest()


def token_of(key_or_hash: str) -> str:
    return key_hash(key_or_hash) if key_or_hash.startswith("sk-") else key_or_hash


class KeyRow(Contract):
    """A virtual key. `spend` counts what has been written to the spend log, so it trails by one batch."""

    token: str
    key_name: str
    key_alias: str | None = None
    spend: float = 0.0
    max_budget: float | None = None
    budget_duration: str | None = None
    models: tuple[str, ...] = ()
    metadata: JsonObject = Field(default_factory=dict)
    user_id: str | None = None
    team_id: str | None = None
    rpm_limit: int | None = None
    tpm_limit: int | None = None
    max_parallel_requests: int | None = None
    blocked: bool | None = None
    expires: Instant | None = None
    created_at: Instant
    updated_at: Instant
    settings_updated_at: Instant | None = None
    """Moves with admin writes alone; `updated_at` moves with spend too."""

    @property
    def alias_label(self) -> str:
        return self.key_alias or "None"


class ModelRow(Contract):
    """One deployment. `db_model` false means that it comes from the configuration file and no write can change it."""

    model_id: str
    model_name: str
    model: str
    api_base: str
    weight: float | None = None
    rpm: int | None = None
    tpm: int | None = None
    input_cost_per_token: float = Field(default=0.0, ge=0)
    output_cost_per_token: float = Field(default=0.0, ge=0)
    blocked: bool | None = None
    db_model: bool = True
    created_at: Instant
    updated_at: Instant

    @property
    def provider(self) -> str:
        return self.model.partition("/")[0] if "/" in self.model else "openai"

    @property
    def provider_model(self) -> str:
        return self.model.partition("/")[2] if "/" in self.model else self.model


class Failure(Contract):
    """Why a call failed, in the words of LiteLLM's `error_information`. `code` is the upstream's own where it gave one,
    so not always a number."""

    code: str
    error_class: str
    normalized: str = "UNCLASSIFIED"
    category: str | None = None
    limit_type: str | None = None


class Effect(Contract):
    """What one admin write changes: whole rows, so that doing it twice is doing it once."""

    keys: tuple[KeyRow, ...] = ()
    models: tuple[ModelRow, ...] = ()
    removed_models: tuple[str, ...] = ()
    fallbacks: dict[str, tuple[str, ...]] | None = None


class Snapshot(Contract):
    """The persisted state; `journal_seq` is the last journal entry it contains."""

    journal_seq: int = 0
    keys: tuple[KeyRow, ...] = ()
    models: tuple[ModelRow, ...] = ()
    fallbacks: dict[str, tuple[str, ...]] = Field(default_factory=dict)
