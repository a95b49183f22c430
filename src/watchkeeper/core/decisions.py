"""The input of a policy decision, whole, and its answer. `decide(policy, input)` is a pure function of the two:
a decision replayed from its recorded input is the same byte for byte (invariant 8)."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from watchkeeper.core.actions import ActionKind, Intent, Target
from watchkeeper.core.findings import FailureMode, Severity, Sign
from watchkeeper.core.ids import DecisionId, IncidentId, PlanId, RemedyId
from watchkeeper.core.model import Contract, Instant
from watchkeeper.core.phases import Phase
from watchkeeper.core.subjects import Scope


class Autonomy(StrEnum):
    """What an agent may do alone, from nothing to everything. Order matters: `rank`."""

    NONE = "none"
    SHADOW = "shadow"
    PROPOSE = "propose"
    BOUNDED = "bounded"
    FULL = "full"

    @property
    def rank(self) -> int:
        return _RANKS[self]


_RANKS = {each: rank for rank, each in enumerate(Autonomy)}


class ActionRequest(Contract):
    """One action as policy sees it. `blast_count` of `blast_population` things are touched."""

    step: int
    intent: Intent
    kind: ActionKind
    target: Target
    blast_count: int = Field(ge=1)
    blast_population: int = Field(ge=1)
    undo_captured: bool
    verification_declared: bool
    protected: bool = False
    foreign_owner: bool = False
    seconds_since_last: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Since the last effect on this target under any plan; None: never."""
    running_on_target: int = Field(default=0, ge=0)


class RateCount(Contract):
    """Effects already claimed by this runbook in this scope in the last `window_s` seconds."""

    window_s: int = Field(gt=0)
    count: int = Field(ge=0)


class ZoneOffset(Contract):
    """What a zone's clock showed then, as seconds that it was ahead of UTC."""

    zone: str
    seconds: int = Field(ge=-86_400, le=86_400)


class Burn(Contract):
    """How many times too fast the error budget burnt in the last `window_s` seconds."""

    window_s: int = Field(gt=0)
    rate: float = Field(ge=0, allow_inf_nan=False)


class BudgetReading(Contract):
    """One service level objective of the service. `remaining`: the share of the period's budget that is left, negative
    where more is spent than there was; None: not known. A window that could not be read is not in `burns`."""

    objective: str
    remaining: float | None = Field(allow_inf_nan=False)
    burns: tuple[Burn, ...]


class AgentStanding(Contract):
    """How far people let the agent go, whatever policy says. `ceiling`: never further than this. `promoted`: how far it
    was promoted for this plan's actions in this scope with the manifest it has now; None: it was not."""

    ceiling: Autonomy
    promoted: Autonomy | None
    over_budget: bool
    """It has used up the tokens, money, time or iterations it was given."""


class VerificationFacts(Contract):
    """What the plan declares: how many horizons, the last of them in seconds after the effect, and guard SLIs."""

    horizons: int = Field(ge=0)
    last_s: float = Field(ge=0, allow_inf_nan=False)
    guards: int = Field(ge=0)


def _unset(value: object) -> bool:
    """What older decisions did not have is left out of the bytes of those that do not use it (decision 24)."""
    return not value


class DecisionInput(Contract):
    schema_name = "watchkeeper.dev/decision-input/v1"
    incident: IncidentId
    plan: PlanId
    plan_hash: str
    runbook: str
    agent: str
    manifest_digest: str
    scope: Scope
    mode: FailureMode
    severity: Severity
    confidence: float = Field(ge=0, le=1)
    novel: bool
    edge_proven: bool
    signs: tuple[Sign, ...]
    requests: tuple[ActionRequest, ...]
    rates: tuple[RateCount, ...] = ()
    running_fleet: int = Field(default=0, ge=0)
    trust_lower_bound: float | None = Field(default=None, ge=0, le=1)
    """None: trust is not yet kept for this (agent, action, scope)."""
    conflicts: tuple[RemedyId, ...] = ()
    standing: AgentStanding | None = None
    """None: the decision was made before people's word about agents was kept."""
    verification: VerificationFacts | None = None
    offsets: tuple[ZoneOffset, ...] = ()
    """Of the zones in which the policy's windows are written."""
    budgets: tuple[BudgetReading, ...] = ()
    """Of the objectives that the policy asks for."""
    phase: Phase | None = Field(default=None, exclude_if=_unset)
    """Of the service's rollout. None: it is not known, or was not kept yet."""
    at: Instant


class Verdict(StrEnum):
    ALLOW = "allow"
    REQUIRE_APPROVAL = "require_approval"
    SHADOW = "shadow"
    DENY = "deny"


class Gate(StrEnum):
    """Every gate a decision passes, in the order it is asked."""

    PROTECTED = "protected"
    GRANT = "grant"
    LIMIT = "limit"
    AUTONOMY = "autonomy"
    STANDING = "standing"
    KIND = "kind"
    UNDO = "undo"
    VERIFICATION = "verification"
    EDGE = "edge"
    NOVELTY = "novelty"
    CONFIDENCE = "confidence"
    OWNER = "owner"
    CONFLICT = "conflict"
    WINDOW = "window"
    FREEZE = "freeze"
    ERROR_BUDGET = "error_budget"
    BLAST_COUNT = "blast_count"
    BLAST_SHARE = "blast_share"
    RATE = "rate"
    COOLDOWN = "cooldown"
    CONCURRENCY = "concurrency"
    TRUST = "trust"
    EVIDENCE = "evidence"
    RULE = "rule"
    APPROVAL = "approval"


class Reason(StrEnum):
    PASSED = "passed"
    NO_GRANT = "no_grant"
    FORBIDDEN = "forbidden"
    PROTECTED_TARGET = "protected_target"
    SHADOW_ONLY = "shadow_only"
    PROPOSE_ONLY = "propose_only"
    AGENT_HELD_BACK = "agent_held_back"
    NOT_PROMOTED = "not_promoted"
    AGENT_OVER_BUDGET = "agent_over_budget"
    KIND_NOT_COVERED = "kind_not_covered"
    NO_UNDO = "no_undo"
    NO_VERIFICATION = "no_verification"
    VERIFICATION_TOO_SHORT = "verification_too_short"
    TOO_FEW_HORIZONS = "too_few_horizons"
    TOO_FEW_GUARDS = "too_few_guards"
    EDGE_NOT_PROVEN = "edge_not_proven"
    NOVEL_CAUSE = "novel_cause"
    CONFIDENCE_TOO_LOW = "confidence_too_low"
    FOREIGN_OWNER = "foreign_owner"
    CONFLICT_IN_FORCE = "conflict_in_force"
    OUTSIDE_WINDOW = "outside_window"
    FROZEN = "frozen"
    BUDGET_SPENT = "budget_spent"
    BURNS_TOO_FAST = "burns_too_fast"
    BURNS_TOO_SLOWLY = "burns_too_slowly"
    BLAST_COUNT_EXCEEDED = "blast_count_exceeded"
    BLAST_SHARE_EXCEEDED = "blast_share_exceeded"
    RATE_EXCEEDED = "rate_exceeded"
    COOLING_DOWN = "cooling_down"
    TOO_MANY_RUNNING = "too_many_running"
    TRUST_TOO_LOW = "trust_too_low"
    EVIDENCE_MISSING = "evidence_missing"
    RULE_NOT_MET = "rule_not_met"
    RULE_UNKNOWN = "rule_unknown"
    """What the rule needs is not known, so it has no answer."""
    WARNED = "warned"
    AUDITED = "audited"
    APPROVAL_REQUIRED = "approval_required"


class GateResult(Contract):
    """One step of the walk. `node` is the policy document (`grant/demo-failover`), or `core` for a built-in gate."""

    gate: Gate
    node: str
    passed: bool
    reason: Reason
    step: int | None = None
    observed: float | str | None = None
    limit: float | str | None = None


class EscalationStep(Contract):
    """While nobody has answered for `after_s` seconds: who holds one of `roles` may answer from then on too, and the
    sinks that `notify` names are told; none named: all."""

    after_s: int = Field(gt=0)
    roles: tuple[str, ...] = ()
    notify: tuple[str, ...] = ()


class ApprovalTerms(Contract):
    """One requirement: `quorum` people who hold one of `roles`, before `ttl_s` seconds have passed.

    `not_author`: who edited the plan does not count. `separate`: where any term of a decision says so, a person counts
    for one of them only."""

    node: str
    roles: tuple[str, ...]
    quorum: int = Field(default=1, ge=1)
    ttl_s: int = Field(gt=0)
    not_author: bool = Field(default=False, exclude_if=_unset)
    separate: bool = Field(default=False, exclude_if=_unset)
    escalation: tuple[EscalationStep, ...] = Field(default=(), exclude_if=_unset)


class Decision(Contract):
    schema_name = "watchkeeper.dev/decision/v1"
    verdict: Verdict
    autonomy: Autonomy
    policy_version: str
    input_digest: str
    walk: tuple[GateResult, ...]
    approvals: tuple[ApprovalTerms, ...] = ()
    remedy_ttl_s: int | None = None
    """The meet of all TTL caps; None: no document sets one."""

    @property
    def blocking(self) -> tuple[GateResult, ...]:
        return tuple(step for step in self.walk if not step.passed)


class DecisionRecord(Contract):
    """What the ledger keeps of a decision: enough to make it again."""

    schema_name = "watchkeeper.dev/decision-record/v1"
    id: DecisionId
    input: DecisionInput
    decision: Decision
