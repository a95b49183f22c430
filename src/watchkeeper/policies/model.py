"""Policy documents: `Grant`, the only source of authority, and `Limit`, which only ever takes away.

Lists are sets: their order and repetitions are dropped when read, so the same rule has the same bytes.
What the fields do together is in `terms` (the meet) and `gates` (the questions); this module only says what is written.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from watchkeeper.core.actions import Intent
from watchkeeper.core.decisions import Autonomy
from watchkeeper.core.errors import suggest
from watchkeeper.core.findings import Sign
from watchkeeper.core.manifest import Manifest, Section, WholeSeconds
from watchkeeper.core.principals import Role
from watchkeeper.policies.conditions.budget import ErrorBudget
from watchkeeper.policies.conditions.rules import Rule, in_order
from watchkeeper.policies.conditions.when import Freeze, Window

ANY = "*"


def _as_set(values: tuple[str, ...]) -> tuple[str, ...]:
    if ANY in values and len(set(values)) > 1:
        raise ValueError('"*" already stands for all: write it alone')
    return tuple(sorted(set(values)))


def _one_of(*known: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value != ANY and value not in known:
            raise ValueError(f"unknown name {value[:60]!r}{suggest(value, known)}")
        return value

    return check


Word = Annotated[str, Field(min_length=1, max_length=256)]
Words = Annotated[tuple[Word, ...], Field(min_length=1, max_length=1000), AfterValidator(_as_set)]
IntentWord = Annotated[str, AfterValidator(_one_of(*Intent))]
Intents = Annotated[tuple[IntentWord, ...], Field(min_length=1), AfterValidator(_as_set)]
Signs = Annotated[tuple[Sign, ...], AfterValidator(lambda signs: tuple(sorted(set(signs))))]
Roles = Annotated[tuple[Role, ...], Field(min_length=1), AfterValidator(lambda roles: tuple(sorted(set(roles))))]


class LimitMatch(Section):
    """What a Limit applies to; what is not written applies to everything.

    A target that lacks a label named here is matched too: what is not known cannot escape a Limit."""

    environments: Words | None = None
    services: Words | None = None
    agents: Words | None = None
    runbooks: Words | None = None
    intents: Intents | None = None
    target_kinds: Words | None = None
    target_labels: dict[Word, Words] = Field(default_factory=dict)


class GrantMatch(LimitMatch):
    """What a Grant applies to: every dimension is written, `"*"` where all is meant.

    A target that lacks a label named here is not matched."""

    environments: Words
    services: Words
    agents: Words
    runbooks: Words
    intents: Intents
    target_kinds: Words


class Rate(Section):
    """At most `count` effects of one runbook in one environment and service within `per`."""

    count: int = Field(ge=0)
    per: WholeSeconds


class Concurrency(Section):
    per_target: int | None = Field(default=None, ge=0)
    fleet: int | None = Field(default=None, ge=0)


class Caps(Section):
    max_blast_count: int | None = Field(default=None, ge=0)
    max_blast_share: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    rate: Rate | None = None
    cooldown: WholeSeconds | None = None
    concurrency: Concurrency | None = None
    ttl: WholeSeconds | None = None


class FailurePolicy(StrEnum):
    """What follows when a cap is exceeded or required evidence is missing; never anything wider."""

    DENY = "Deny"
    REQUIRE_APPROVAL = "RequireApproval"


SinkName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]


class Escalation(Section):
    """While nobody has answered for so long: these roles may answer too, these sinks are told (none named: all)."""

    after: WholeSeconds
    roles: Annotated[tuple[Role, ...], AfterValidator(lambda roles: tuple(sorted(set(roles))))] = ()
    notify: Annotated[tuple[SinkName, ...], Field(max_length=16), AfterValidator(_as_set)] = ()


def _by_time(steps: tuple[Escalation, ...]) -> tuple[Escalation, ...]:
    if len({step.after for step in steps}) < len(steps):
        raise ValueError("two steps are due at the same time: make one of them")
    return tuple(sorted(steps, key=lambda step: step.after))


class Approval(Section):
    """`not_author`: who edited the plan does not count. `separate`: each person counts for one of the terms only."""

    roles: Roles
    quorum: int = Field(default=1, ge=1, le=20)
    ttl: WholeSeconds
    not_author: bool = False
    separate: bool = False
    escalation: Annotated[tuple[Escalation, ...], Field(max_length=5), AfterValidator(_by_time)] = ()

    @model_validator(mode="after")
    def _in_time(self) -> Approval:
        if self.escalation and self.escalation[-1].after >= self.ttl:
            raise ValueError("a step of the escalation is due only when the approval's ttl is over")
        return self


def _in_order(approvals: tuple[Approval, ...]) -> tuple[Approval, ...]:
    """By what there was in the first version, then the rest: a document keeps its digest."""
    return tuple(sorted(set(approvals), key=lambda each: (each.roles, each.quorum, each.ttl, each.model_dump_json())))


class RequiredVerification(Section):
    """The least that the plan has to declare: how many horizons, how late the last of them, how many guard SLIs."""

    min_horizons: int | None = Field(default=None, ge=1, le=100)
    last_horizon: WholeSeconds | None = None
    min_guards: int | None = Field(default=None, ge=1, le=100)


def _budgets(budgets: tuple[ErrorBudget, ...]) -> tuple[ErrorBudget, ...]:
    names = [budget.objective for budget in budgets]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"the objective {twice[0]!r} is written twice: write all that it asks in one")
    return tuple(sorted(budgets, key=lambda budget: budget.objective))


Windows = Annotated[
    tuple[Window, ...],
    Field(max_length=100),
    AfterValidator(lambda windows: tuple(sorted(set(windows), key=lambda each: each.model_dump_json()))),
]
Freezes = Annotated[
    tuple[Freeze, ...],
    Field(max_length=1000),
    AfterValidator(lambda freezes: tuple(sorted(set(freezes), key=lambda each: (each.start, each.end, each.name)))),
]


class LimitSpec(Section):
    match: LimitMatch = LimitMatch()
    autonomy: Autonomy | None = None
    caps: Caps = Caps()
    trust_floor: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    min_confidence: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    required_evidence: Signs = ()
    required_verification: RequiredVerification = RequiredVerification()
    require_promotion: bool = False
    windows: Windows = ()
    freezes: Freezes = ()
    error_budgets: Annotated[tuple[ErrorBudget, ...], Field(max_length=20), AfterValidator(_budgets)] = ()
    rules: Annotated[tuple[Rule, ...], Field(max_length=50), AfterValidator(in_order)] = ()
    approvals: Annotated[tuple[Approval, ...], AfterValidator(_in_order)] = ()
    failure_policy: FailurePolicy = FailurePolicy.DENY


class GrantSpec(LimitSpec):
    match: GrantMatch
    autonomy: Autonomy


class Limit(Manifest):
    kind: Literal["Limit"]
    spec: LimitSpec

    @property
    def node(self) -> str:
        return f"limit/{self.metadata.name}"


class Grant(Manifest):
    kind: Literal["Grant"]
    spec: GrantSpec

    @property
    def node(self) -> str:
        return f"grant/{self.metadata.name}"


PolicyDocument = Grant | Limit
KINDS: dict[str, type[Grant] | type[Limit]] = {"Grant": Grant, "Limit": Limit}
