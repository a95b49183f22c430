"""What a detector says: one subject, one failure mode, the numbers, and who causes it."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from watchkeeper.core.digest import sha256
from watchkeeper.core.evidence import EvidenceRef
from watchkeeper.core.ids import FindingId
from watchkeeper.core.model import Contract, Instant
from watchkeeper.core.subjects import Edge, Scope, Subject


class FailureMode(StrEnum):
    HALLUCINATION = "hallucination_cascade"
    DRIFT = "prompt_model_drift"
    COST_SPIKE = "token_cost_spike"
    VECTOR_LATENCY = "vector_db_latency"
    PROVIDER_OUTAGE = "provider_outage"
    RUNAWAY_LOOP = "runaway_loop"
    CONTEXT_OVERFLOW = "context_overflow"
    CRASH_LOOP = "crash_loop"
    OUT_OF_MEMORY = "out_of_memory"
    STUCK_ROLLOUT = "stuck_rollout"
    BAD_DEPLOY = "bad_deploy"
    NODE_NOT_READY = "node_not_ready"
    DISK_FULL = "disk_full"
    SERVICE_DOWN = "service_down"
    SATURATION = "saturation"
    HUNG_PROCESS = "hung_process"
    QUEUE_BACKLOG = "queue_backlog"

    @property
    def of_infrastructure(self) -> bool:
        """Told by alerts, about what an adapter can act on; the others are found in calls and runs."""
        return self in _INFRASTRUCTURE


_INFRASTRUCTURE = frozenset(
    {
        FailureMode.CRASH_LOOP,
        FailureMode.OUT_OF_MEMORY,
        FailureMode.STUCK_ROLLOUT,
        FailureMode.BAD_DEPLOY,
        FailureMode.NODE_NOT_READY,
        FailureMode.DISK_FULL,
        FailureMode.SERVICE_DOWN,
        FailureMode.SATURATION,
        FailureMode.HUNG_PROCESS,
        FailureMode.QUEUE_BACKLOG,
    }
)


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)


class Sign(StrEnum):
    """The kinds of evidence a detector can name; a policy may require some of them."""

    RATE_OVER_BASELINE = "rate_over_baseline"
    REPEATED_TOOL_CALL = "repeated_tool_call"
    CYCLE = "cycle"
    DEPTH = "depth"
    NO_TERMINATION = "no_termination"
    HTTP_5XX = "http_5xx"
    HTTP_429 = "http_429"
    TIMEOUTS = "timeouts"
    GATEWAY_STATE = "gateway_state"
    FAILURE_SERIES = "failure_series"
    ALERT = "alert"
    ALERT_RULE = "alert_rule"
    """An alert whose name the team has mapped to the mode, on the very target."""
    RECENT_CHANGE = "recent_change"
    OWN_EFFECT = "own_effect"


class Observation(Contract):
    """One number behind a finding: `observed` against `expected` (a baseline or a limit), in `unit`."""

    sign: Sign
    observed: float
    expected: float
    unit: str


class Attribution(Contract):
    """`share` (0..1) of the excess that this subject accounts for."""

    subject: Subject
    share: float = Field(ge=0, le=1)


class Finding(Contract):
    schema_name = "watchkeeper.dev/finding/v1"
    id: FindingId
    detector: str
    mode: FailureMode
    subject: Subject
    scope: Scope
    severity: Severity
    onset: Instant
    detected: Instant
    observations: tuple[Observation, ...]
    attribution: tuple[Attribution, ...] = ()
    edges: tuple[Edge, ...] = ()
    evidence: tuple[EvidenceRef, ...] = ()
    estimated: bool = False
    state_digest: str
    """Digest of the detector's state snapshot that the finding was drawn from."""
    code_digest: str
    """Digest of the detector's own modules."""

    @property
    def fingerprint(self) -> str:
        """The same trouble of the same subject has the same fingerprint, whenever it is seen."""
        return sha256(f"{self.mode}|{self.subject}|{self.scope}".encode())
