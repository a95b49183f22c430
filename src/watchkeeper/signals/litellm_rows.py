"""LiteLLM's spend log: one row, one call.

A row's `request_id` is its primary key at the gateway: the upstream's response id of a call that was served, the
gateway's call id of one that was not. Spans carry the same as `gen_ai.response.id`, so it is both the signal's id and
its call id. An upstream that repeats its response ids loses rows at the gateway; nothing here can find them again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from watchkeeper.core.signals import Call, ErrorClass, Usage
from watchkeeper.signals.faults import error_class
from watchkeeper.signals.names import clean, key

MAX_ID = 256

OWN_ERRORS = ("Proxy", "HTTPException", "BudgetExceeded")
"""How the classes of the gateway's own refusals begin. A row of one may name a deployment all the same, where the group
has only one."""

NO_HEALTHY = "NO_HEALTHY_DEPLOYMENTS"
"""The gateway has taken every deployment of the group out of use for a while: the provider's fault, naming nobody."""


def _aware(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]
Count = Annotated[int, BeforeValidator(lambda value: 0 if value is None else value), Field(ge=0)]
When = Annotated[datetime, AfterValidator(_aware)]


class _Error(BaseModel):
    error_code: Text = ""
    error_class: Text = ""
    normalized_error: Text = ""
    error_rate_limit_category: Text = ""

    @property
    def status(self) -> int | None:
        """`error_code` is the upstream's own word, and not always a number."""
        for said in (self.normalized_error, self.error_code):
            found = re.match(r"(\d{3})(?!\d)", said)
            if found:
                return int(found[1])
        return None


class _PromptDetails(BaseModel):
    cached_tokens: Count = 0


class _CompletionDetails(BaseModel):
    reasoning_tokens: Count = 0


class _UsageObject(BaseModel):
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Metadata(BaseModel):
    error_information: _Error | None = None
    usage_object: _UsageObject | None = None
    user_api_key_team_id: Text = ""


class SpendRow(BaseModel):
    """What we read of a row; the rest, which may be personal, is not looked at."""

    request_id: str = Field(min_length=1)
    status: Text = ""
    api_key: Text = ""
    team_id: Text = ""
    model: Text = ""
    model_id: Text = ""
    model_group: Text = ""
    custom_llm_provider: Text = ""
    api_base: Text = ""
    spend: Annotated[float, BeforeValidator(lambda value: 0.0 if value is None else value)] = Field(
        default=0.0, ge=0, allow_inf_nan=False
    )
    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    start: When = Field(alias="startTime")
    end: When | None = Field(default=None, alias="endTime")
    metadata: _Metadata | None = None

    @property
    def error(self) -> _Error:
        return (self.metadata.error_information if self.metadata else None) or _Error()

    @property
    def reached(self) -> bool:
        """Whether a deployment was asked."""
        return bool(self.model_id) and not (self.status == "failure" and is_own(self.error.error_class))


def is_own(error_class: str) -> bool:
    """Whether the gateway itself, and no provider, raised an error of this class."""
    return error_class == "Exception" or error_class.startswith(OWN_ERRORS)


def call_of(row: SpendRow, gateway: str, source: str, providers: Mapping[str, str]) -> Call:
    """`providers` names the provider of each known deployment."""
    failed = row.status == "failure"
    error = _failure(row) if failed else None
    call_id = bounded(row.request_id)
    return Call(
        id=call_id,
        source=source,
        at=max(row.end or row.start, row.start),
        started=row.start,
        call_id=call_id,
        gateway=gateway,
        key=key_of(row.api_key),
        team=clean(row.team_id or (row.metadata.user_api_key_team_id if row.metadata else "")),
        model_group=clean(row.model_group),
        model=clean(row.model),
        deployment=clean(row.model_id) if row.reached else "",
        provider=_provider(row, providers),
        # A failed row's tokens are an estimate that nobody is billed for.
        usage=Usage() if failed else _usage(row),
        cost_usd=0.0 if failed else row.spend,
        error=error,
        http_status=row.error.status if failed else None,
    )


def bounded(name: str) -> str:
    """An id as it is, or a digest of one that is too long or holds what a database cannot."""
    body = name.encode("utf-8", "replace")
    if len(body) <= MAX_ID and name.isprintable():
        return name
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def key_of(api_key: str) -> str:
    """The gateway logs hashes; should a key itself ever come, or a name, only its hash goes further."""
    return key(api_key) or (hashlib.sha256(api_key.encode("utf-8", "replace")).hexdigest() if api_key else "")


def provider_of(kind: str, api_base: str) -> str:
    """A provider's own address goes by its kind ("openai"); any other address is a provider of its own.

    So two OpenAI-compatible servers are two providers, as their outages are.
    """
    try:
        parts = urlsplit(api_base)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return clean(kind)
    if not host or (kind and kind in host.split(".")):
        return clean(kind)
    return clean(host if port is None else f"{host}:{port}")


def _provider(row: SpendRow, providers: Mapping[str, str]) -> str:
    """A row that reached no deployment names a provider kind too, but only as a guess that blames the wrong one."""
    if not row.reached:
        return ""
    return providers.get(row.model_id) or provider_of(row.custom_llm_provider, row.api_base)


def _usage(row: SpendRow) -> Usage:
    told = row.metadata.usage_object if row.metadata else None
    prompt = told.prompt_tokens_details if told else None
    completion = told.completion_tokens_details if told else None
    return Usage(
        input=row.prompt_tokens,
        output=row.completion_tokens,
        cached=prompt.cached_tokens if prompt else 0,
        reasoning=completion.reasoning_tokens if completion else 0,
    )


def _failure(row: SpendRow) -> ErrorClass:
    said = row.error
    if said.normalized_error.endswith(NO_HEALTHY):
        return ErrorClass.RATE_LIMITED
    fault = error_class(status=said.status, kind=said.error_class, limiter=said.error_rate_limit_category)
    if row.reached or not fault.provider_fault:
        return fault
    # Nothing was asked of a provider (invariant 12): a 429 is the gateway's own limit, the rest its own trouble.
    return ErrorClass.LIMITED if fault is ErrorClass.RATE_LIMITED else ErrorClass.OTHER
