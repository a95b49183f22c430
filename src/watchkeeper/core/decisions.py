"""The input of a policy decision, whole, and its answer. `decide(policy, input)` is a pure function of the two:
a decision replayed from its recorded input is the same byte for byte (invariant 8)."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from watchkeeper.core.actions import ActionKind, Intent, Target
from watchkeeper.core.findings import FailureMode, Severity, Sign
from watchkeeper.core.ids import DecisionId, IncidentId, PlanId, RemedyId
from watchkeeper.core.model import Contract, Instant
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
        return list(Autonomy).index(self)


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
    KIND = "kind"
    UNDO = "undo"
    VERIFICATION = "verification"
    EDGE = "edge"
    NOVELTY = "novelty"
    CONFIDENCE = "confidence"
    OWNER = "owner"
    CONFLICT = "conflict"
    BLAST_COUNT = "blast_count"
    BLAST_SHARE = "blast_share"
    RATE = "rate"
    COOLDOWN = "cooldown"
    CONCURRENCY = "concurrency"
    TRUST = "trust"
    EVIDENCE = "evidence"
    APPROVAL = "approval"


class Reason(StrEnum):
    PASSED = "passed"
    NO_GRANT = "no_grant"
    FORBIDDEN = "forbidden"
    PROTECTED_TARGET = "protected_target"
    SHADOW_ONLY = "shadow_only"
    PROPOSE_ONLY = "propose_only"
    KIND_NOT_COVERED = "kind_not_covered"
    NO_UNDO = "no_undo"
    NO_VERIFICATION = "no_verification"
    EDGE_NOT_PROVEN = "edge_not_proven"
    NOVEL_CAUSE = "novel_cause"
    CONFIDENCE_TOO_LOW = "confidence_too_low"
    FOREIGN_OWNER = "foreign_owner"
    CONFLICT_IN_FORCE = "conflict_in_force"
    BLAST_COUNT_EXCEEDED = "blast_count_exceeded"
    BLAST_SHARE_EXCEEDED = "blast_share_exceeded"
    RATE_EXCEEDED = "rate_exceeded"
    COOLING_DOWN = "cooling_down"
    TOO_MANY_RUNNING = "too_many_running"
    TRUST_TOO_LOW = "trust_too_low"
    EVIDENCE_MISSING = "evidence_missing"
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


def _unset(value: object) -> bool:
    """What older decisions did not have is left out of the bytes of those that do not use it (decision 24)."""
    return not value


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
