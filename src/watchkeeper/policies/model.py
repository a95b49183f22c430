"""Policy documents: `Grant`, the only source of authority, and `Limit`, which only ever takes away.

Lists are sets: their order and repetitions are dropped when read, so the same rule has the same bytes.
What the fields do together is in `terms` (the meet) and `gates` (the questions); this module only says what is written.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from watchkeeper.core.actions import Intent
from watchkeeper.core.decisions import Autonomy
from watchkeeper.core.errors import suggest
from watchkeeper.core.findings import Sign
from watchkeeper.core.manifest import Manifest, Section, WholeSeconds
from watchkeeper.core.phases import Phase
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
IntentWord = Annotated[str, AfterValidator(_one_of(*Intent)), Field(json_schema_extra={"enum": [ANY, *Intent]})]
Intents = Annotated[tuple[IntentWord, ...], Field(min_length=1), AfterValidator(_as_set)]
Signs = Annotated[tuple[Sign, ...], AfterValidator(lambda signs: tuple(sorted(set(signs))))]
Phases = Annotated[tuple[Phase, ...], Field(min_length=1), AfterValidator(lambda phases: tuple(sorted(set(phases))))]
Roles = Annotated[tuple[Role, ...], Field(min_length=1), AfterValidator(lambda roles: tuple(sorted(set(roles))))]


class LimitMatch(Section):
    """What a Limit applies to; what is not written applies to everything.

    A target that lacks a label named here is matched too, and so is a service whose phase is not known: what is not
    known cannot escape a Limit."""

    environments: Words | None = None
    """The environment of the incident's scope."""
    services: Words | None = None
    """The service of the incident's scope."""
    agents: Words | None = None
    """The remediator that asks, like `remediator/litellm`."""
    runbooks: Words | None = None
    """The runbook by its name."""
    intents: Intents | None = None
    """What is done to the target."""
    target_kinds: Words | None = None
    """The adapter's word for what the target is, like `key` or `deployment`."""
    target_labels: dict[Word, Words] = Field(default_factory=dict)
    """Labels of the target, each with the values that are meant."""
    phases: Phases | None = None
    """Of the service's rollout; not written: any, also one that is not known."""


class GrantMatch(LimitMatch):
    """What a Grant applies to: every dimension is written, `"*"` where all is meant; `phases` may be left out.

    A target that lacks a label named here is not matched, nor a service whose phase is not known where phases are
    named."""

    environments: Words
    services: Words
    agents: Words
    runbooks: Words
    intents: Intents
    target_kinds: Words


class Rate(Section):
    """At most `count` effects of one runbook in one environment and service within `per`."""

    count: int = Field(ge=0)
    """How many effects, this plan's own among them."""
    per: WholeSeconds
    """Within how long."""


class Concurrency(Section):
    """How many plans may act or hold something at a time, this one among them."""

    per_target: int | None = Field(default=None, ge=0)
    """On one target."""
    fleet: int | None = Field(default=None, ge=0)
    """Everywhere."""


class Caps(Section):
    """How much, how often and for how long."""

    max_blast_count: int | None = Field(default=None, ge=0)
    """How many things one plan may touch; its steps on one kind of target count together."""
    max_blast_share: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    """Which share of all such things one plan may touch."""
    rate: Rate | None = None
    """How many effects within how long."""
    cooldown: WholeSeconds | None = None
    """How long to leave a target alone after an effect on it."""
    concurrency: Concurrency | None = None
    """How many plans at a time."""
    ttl: WholeSeconds | None = None
    """How long a remedy may stay in force."""


class FailurePolicy(StrEnum):
    """What follows when a condition of the document is not met; never anything wider."""

    DENY = "Deny"
    REQUIRE_APPROVAL = "RequireApproval"


SinkName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]


class Escalation(Section):
    """While nobody has answered for so long: these roles may answer too, these sinks are told (none named: all)."""

    after: WholeSeconds
    """How long nobody has answered; less than the approval's `ttl`."""
    roles: Annotated[tuple[Role, ...], AfterValidator(lambda roles: tuple(sorted(set(roles))))] = ()
    """Who may answer from then on too."""
    notify: Annotated[tuple[SinkName, ...], Field(max_length=16), AfterValidator(_as_set)] = ()
    """The sinks that are told; none named: all."""


def _by_time(steps: tuple[Escalation, ...]) -> tuple[Escalation, ...]:
    if len({step.after for step in steps}) < len(steps):
        raise ValueError("two steps are due at the same time: make one of them")
    return tuple(sorted(steps, key=lambda step: step.after))


class Approval(Section):
    """Whose word it takes. Every approval that some document requires has to be given."""

    roles: Roles
    """Who may answer: a person who holds one of these."""
    quorum: int = Field(default=1, ge=1, le=20)
    """How many people."""
    ttl: WholeSeconds
    """How long the question stands; then the plan goes to a person as not approved."""
    not_author: bool = False
    """Who edited the plan does not count."""
    separate: bool = False
    """Each person counts for one of the plan's approvals only."""
    escalation: Annotated[tuple[Escalation, ...], Field(max_length=5), AfterValidator(_by_time)] = ()
    """Who is asked and told when nobody answers, step by step."""

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
    """How often it looks whether the effect helped."""
    last_horizon: WholeSeconds | None = None
    """How long after the effect it looks last, at the least."""
    min_guards: int | None = Field(default=None, ge=1, le=100)
    """How many indicators must not suffer meanwhile."""


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
    """What it takes away, and from what. What is not written takes nothing away."""

    match: LimitMatch = LimitMatch()
    """What the document applies to."""
    autonomy: Autonomy | None = None
    """How far an agent may go alone."""
    caps: Caps = Caps()
    """How much, how often and for how long."""
    trust_floor: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    """The lower bound of the agent's trust, below which a person is asked."""
    min_confidence: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    """The confidence of the diagnosis, below which a person is asked."""
    required_evidence: Signs = ()
    """Signs that must be among the evidence."""
    required_verification: RequiredVerification = RequiredVerification()
    """How closely the plan has to look whether it helped."""
    require_promotion: bool = False
    """A person must have promoted the agent for this action in this scope."""
    windows: Windows = ()
    """When something may be done: one of them must be open. None: at any time."""
    freezes: Freezes = ()
    """When nothing is done."""
    error_budgets: Annotated[tuple[ErrorBudget, ...], Field(max_length=20), AfterValidator(_budgets)] = ()
    """How much error budget must be left, and how quickly it may burn."""
    rules: Annotated[tuple[Rule, ...], Field(max_length=50), AfterValidator(in_order)] = ()
    """Conditions in CEL that must be true."""
    approvals: Annotated[tuple[Approval, ...], AfterValidator(_in_order)] = ()
    """Whose word it takes; each is required."""
    failure_policy: FailurePolicy = FailurePolicy.DENY
    """What follows when this document's caps, evidence, verification, windows, freezes or budgets are not met."""


class GrantSpec(LimitSpec):
    """What it gives, to whom and where, and on which terms."""

    match: GrantMatch
    autonomy: Autonomy


class Limit(Manifest):
    """Takes authority away from what it matches. It can never give any."""

    kind: Literal["Limit"]
    """What the document is."""
    spec: LimitSpec
    """What it says."""

    @property
    def node(self) -> str:
        return f"limit/{self.metadata.name}"


class Grant(Manifest):
    """Gives authority to what it matches: the only source of any. Grants that match one request meet."""

    kind: Literal["Grant"]
    """What the document is."""
    spec: GrantSpec
    """What it says."""

    @property
    def node(self) -> str:
        return f"grant/{self.metadata.name}"


PolicyDocument = Grant | Limit
KINDS: dict[str, type[Grant] | type[Limit]] = {"Grant": Grant, "Limit": Limit}


def document_of(body: bytes) -> PolicyDocument:
    """From its canonical bytes. Raises KeyError, TypeError or ValueError for what is no document."""
    data = json.loads(body)
    return KINDS[data["kind"]].model_validate(data)
