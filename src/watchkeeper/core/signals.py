"""What comes in. Every dialect is mapped to these four shapes by one table (`watchkeeper.signals.names`).

`(source, id)` is unique: a second arrival is a duplicate and changes nothing. `at` is event time, and may be late.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from watchkeeper.core.model import Contract, Instant, Labels
from watchkeeper.core.subjects import Subject


class Temporality(StrEnum):
    GAUGE = "gauge"
    DELTA = "delta"
    CUMULATIVE = "cumulative"


class SpanOp(StrEnum):
    AGENT = "agent"
    MODEL = "model"
    TOOL = "tool"
    RETRIEVAL = "retrieval"
    WORKFLOW = "workflow"
    OTHER = "other"


class ErrorClass(StrEnum):
    """Whose fault an unsuccessful call was. `limited` is a refusal by a limit that *we or the gateway's owner* set:
    never a provider fault (invariant 12)."""

    RATE_LIMITED = "rate_limited"  # the provider answered 429
    SERVER = "server"  # the provider answered 5xx, or could not be reached
    TIMEOUT = "timeout"
    LIMITED = "limited"  # the gateway refused by key, team or budget limit
    AUTH = "auth"
    CLIENT = "client"
    OTHER = "other"

    @property
    def provider_fault(self) -> bool:
        return self in (ErrorClass.RATE_LIMITED, ErrorClass.SERVER, ErrorClass.TIMEOUT)


class EventKind(StrEnum):
    ALERT = "alert"
    DEPLOY = "deploy"
    PROMPT_CHANGE = "prompt_change"
    MODEL_CHANGE = "model_change"
    EVAL_RESULT = "eval_result"
    OWN_EFFECT = "own_effect"
    STATE_CHANGE = "state_change"


class _Signal(Contract):
    id: str = Field(min_length=1, max_length=256)
    source: str = Field(min_length=1, max_length=64)
    at: Instant


class Usage(Contract):
    """Tokens of one model call. `input` includes cached tokens, `output` includes reasoning tokens."""

    input: int = Field(default=0, ge=0)
    output: int = Field(default=0, ge=0)
    cached: int = Field(default=0, ge=0)
    reasoning: int = Field(default=0, ge=0)

    @property
    def total(self) -> int:
        return self.input + self.output


class Sample(_Signal):
    """One value of a series."""

    schema_name = "watchkeeper.dev/signal-sample/v1"
    type: Literal["sample"] = "sample"
    name: str
    subject: Subject
    value: float
    unit: str = ""
    temporality: Temporality = Temporality.GAUGE
    labels: Labels = ()


class Event(_Signal):
    """An alert, a deploy, a change, an eval result, or an effect of our own."""

    schema_name = "watchkeeper.dev/signal-event/v1"
    type: Literal["event"] = "event"
    kind: EventKind
    name: str
    subject: Subject
    active: bool = True
    labels: Labels = ()


class Span(_Signal):
    """One GenAI span. `at` is its end. `call_id` is the provider's response id, which the gateway logs too."""

    schema_name = "watchkeeper.dev/signal-span/v1"
    type: Literal["span"] = "span"
    trace_id: str
    span_id: str
    parent_id: str | None = None
    started: Instant
    op: SpanOp
    run_id: str
    service: str = ""
    environment: str = ""
    agent: str = ""
    key: str = ""
    provider: str = ""
    model: str = ""
    requested_model: str = ""
    deployment: str = ""
    call_id: str = ""
    usage: Usage | None = None
    cost_usd: float | None = Field(default=None, ge=0)
    tool: str = ""
    tool_call_digest: str = ""
    finish_reason: str = ""
    error: ErrorClass | None = None
    http_status: int | None = None
    sampling_rate: float = Field(default=1.0, gt=0, le=1)
    """Share of traces that are kept; below 1 every rate from this span is an estimate and is marked so."""


class Call(_Signal):
    """One model call as the gateway saw it. `at` is its end; `id` is the gateway's request id."""

    schema_name = "watchkeeper.dev/signal-call/v1"
    type: Literal["call"] = "call"
    started: Instant
    call_id: str
    gateway: str
    key: str = ""
    team: str = ""
    service: str = ""
    environment: str = ""
    agent: str = ""
    model_group: str = ""
    model: str = ""
    deployment: str = ""
    provider: str = ""
    usage: Usage = Usage()
    cost_usd: float | None = Field(default=None, ge=0)
    error: ErrorClass | None = None
    http_status: int | None = None


Signal = Annotated[Sample | Event | Span | Call, Field(discriminator="type")]
SIGNAL: TypeAdapter[Sample | Event | Span | Call] = TypeAdapter(Signal)
