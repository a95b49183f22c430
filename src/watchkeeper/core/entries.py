"""The ledger entry: its envelope (final) and the data of each kind.

An entry is the canonical JSON of a CloudEvents 1.0 envelope. `source` names the installation and the writer;
`wkseq` counts that writer's entries without a gap and `wkprev` is the SHA-256 of its previous entry's bytes, so that
a missing one is found whoever removed it. Data holds enumerated fields, ids, numbers and commitments, no free text.
Later versions add kinds and optional fields; they never change these.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import Literal

from pydantic import Field, SerializeAsAny

from watchkeeper.core.actions import Change
from watchkeeper.core.agents import StandingChanged
from watchkeeper.core.canonical import canonical
from watchkeeper.core.claims import Claim, EpochSeen
from watchkeeper.core.consents import ApprovalAnswered, ApprovalEscalated, ApprovalRequested, HalfDone, PlanEdited
from watchkeeper.core.decisions import DecisionRecord
from watchkeeper.core.diagnosis import Diagnosis
from watchkeeper.core.evidence import EvidenceKind, EvidenceRef
from watchkeeper.core.findings import Finding
from watchkeeper.core.ids import ActionKey, ClaimId, IncidentId, OrderId, RemedyId
from watchkeeper.core.model import Contract, Instant, format_instant
from watchkeeper.core.outcomes import EffectOutcome, NotUndone, Outcome
from watchkeeper.core.plans import Plan
from watchkeeper.core.principals import Principal
from watchkeeper.core.remedies import Remedy
from watchkeeper.core.rollout import RolloutAdvanced, RolloutJudged, RolloutSetBack
from watchkeeper.core.subjects import Scope
from watchkeeper.core.trust import TrustOutcome

MAX_ENTRY_BYTES = 65_535
"""What a tlog-tiles entry bundle can hold."""


class EntryType(StrEnum):
    STARTED = "dev.watchkeeper.daemon.started.v1"
    GAP = "dev.watchkeeper.watch.gap.v1"
    EVICTION = "dev.watchkeeper.watch.eviction.v1"
    INCIDENT_OPENED = "dev.watchkeeper.incident.opened.v1"
    FINDING = "dev.watchkeeper.finding.v1"
    DIAGNOSIS = "dev.watchkeeper.diagnosis.v1"
    PLAN = "dev.watchkeeper.plan.v1"
    DECISION = "dev.watchkeeper.decision.v1"
    APPROVAL_REQUESTED = "dev.watchkeeper.approval.requested.v1"
    APPROVAL_ANSWERED = "dev.watchkeeper.approval.answered.v1"
    APPROVAL_ESCALATED = "dev.watchkeeper.approval.escalated.v1"
    PLAN_EDITED = "dev.watchkeeper.plan.edited.v1"
    CLAIM = "dev.watchkeeper.claim.v1"
    CLAIM_REFUSED = "dev.watchkeeper.claim.refused.v1"
    CALL = "dev.watchkeeper.call.v1"
    EFFECT = "dev.watchkeeper.effect.v1"
    OUTCOME = "dev.watchkeeper.outcome.v1"
    REMEDY = "dev.watchkeeper.remedy.v1"
    ESCALATION = "dev.watchkeeper.escalation.v1"
    INCIDENT_CLOSED = "dev.watchkeeper.incident.closed.v1"
    STOP = "dev.watchkeeper.authority.stop.v1"
    POLICY_ACTIVATED = "dev.watchkeeper.policy.activated.v1"
    ORDER = "dev.watchkeeper.order.v1"
    KEY_ROTATED = "dev.watchkeeper.ledger.key.v1"
    EVIDENCE_ERASED = "dev.watchkeeper.evidence.erased.v1"
    EVIDENCE_PRUNED = "dev.watchkeeper.evidence.pruned.v1"
    ARCHIVED = "dev.watchkeeper.ledger.archived.v1"
    ENTRIES_PRUNED = "dev.watchkeeper.ledger.pruned.v1"
    TRUST_OUTCOME = "dev.watchkeeper.trust.outcome.v1"
    AGENT_STANDING = "dev.watchkeeper.agent.standing.v1"
    ROLLOUT_ADVANCED = "dev.watchkeeper.rollout.advanced.v1"
    ROLLOUT_SET_BACK = "dev.watchkeeper.rollout.set_back.v1"
    ROLLOUT_JUDGED = "dev.watchkeeper.rollout.judged.v1"


class DaemonStarted(Contract):
    version: str
    settings_digest: str
    policy_version: str
    log_origin: str


class WatchGap(Contract):
    """A time in which the watch could not record; `reason` is an error code."""

    since: Instant
    until: Instant
    reason: str
    signals_seen: int = Field(ge=0)


class Eviction(Contract):
    """Something bounded was full: what was let go, how many, why."""

    what: str
    count: int = Field(ge=1)
    reason: str


class IncidentOpened(Contract):
    incident: IncidentId
    scope: Scope
    fingerprint: str
    opened: Instant
    relapse_of: IncidentId | None = None
    """The closed incident whose trouble this is again, soon after what we did for it was given back."""
    relapses: int = Field(default=0, ge=0)


class FindingRecorded(Contract):
    incident: IncidentId
    finding: Finding


class ClaimRefused(Contract):
    key: ActionKey
    incident: IncidentId
    plan_hash: str
    reason: str


class CallRecorded(Contract):
    """One call to a target, written after its reply (or its absence) is known."""

    call: str
    claim: ClaimId | None
    incident: IncidentId | None
    adapter: str
    operation: str
    request: EvidenceRef
    reply: EvidenceRef | None
    status: int | None
    result: Literal["ok", "refused", "unknown", "not_sent"]
    started: Instant
    duration_ms: int = Field(ge=0)


class RemedyRecorded(Contract):
    remedy: Remedy
    change: Change | None = None
    reason: str = ""


class Escalated(Contract):
    incident: IncidentId
    reason: str
    notified: tuple[str, ...] = ()
    half_done: tuple[RemedyId, ...] = ()
    not_undone: tuple[NotUndone, ...] = Field(default=(), exclude_if=lambda steps: not steps)
    """What the plan did and could not take back, the last first."""


class IncidentClosed(Contract):
    incident: IncidentId
    resolution: str


class OrderKind(StrEnum):
    UNDO = "undo"
    CLOSE = "close"


class OrderRecorded(Contract):
    """What a person ordered of an incident, and who it was. What came of it is told by the entries that follow."""

    order: OrderId
    incident: IncidentId
    kind: OrderKind
    by: Principal
    comment: EvidenceRef | None = None
    stop: OrderId | None = None
    """The order of `stop --then-undo` that this one is part of."""


class StopRecorded(Contract):
    """A stop (`stopped` true) or its lifting, for one authority scope."""

    scope: str
    stopped: bool
    epoch: EpochSeen
    by: Principal
    in_flight: tuple[ClaimId, ...] = ()
    undo: OrderId | None = None
    """The person's order to undo what stood half done, though it is stopped; `half_done` is what it covers."""
    half_done: tuple[HalfDone, ...] = ()
    not_listed: int = Field(default=0, ge=0)
    """How much more was in flight or stood half done than an entry can hold."""
    reason: EvidenceRef | None = Field(default=None, exclude_if=lambda given: given is None)
    """Why, where the person wrote it."""


class PolicyActivated(Contract):
    version: str
    previous: str | None
    documents: tuple[str, ...]
    by: Principal
    reason: EvidenceRef | None = None


class KeyRotated(Contract):
    """From the checkpoint that covers this entry on, `following` signs; that one checkpoint is signed by both.

    Both are verifier keys (C2SP vkey)."""

    previous: str
    following: str


class EvidenceErased(Contract):
    """Bodies and salts that a person had destroyed. The references stay in the entries that hold them."""

    erased: tuple[EvidenceRef, ...]
    by: Principal
    reason: EvidenceRef | None = None


class EvidencePruned(Contract):
    """Bodies and salts of one kind that were older than they are kept for; `size` is their bytes before compression.

    `digest` is `sha256:` over the commitments, sorted, each followed by a newline."""

    kind: EvidenceKind
    before: Instant
    count: int = Field(ge=1)
    size: int = Field(ge=0)
    digest: str


class Archived(Contract):
    """Entries `first` up to, not including, `end` were copied to storage of their own, with what proves them.

    `root` is the tree's root (base64) at `size`, whose checkpoint is in the archive; `digest` names the manifest."""

    first: int = Field(ge=0)
    end: int = Field(ge=1)
    size: int = Field(ge=1)
    root: str
    place: str
    objects: int = Field(ge=1)
    digest: str
    locked_until: Instant | None = None


class EntriesPruned(Contract):
    """The bytes of entries below `end` are gone from the database; their leaf hashes stay. `archive` is the digest of
    the manifest of the archive that holds them."""

    first: int = Field(ge=0)
    end: int = Field(ge=1)
    archive: str


ENTRY_DATA: dict[EntryType, type[Contract]] = {
    EntryType.STARTED: DaemonStarted,
    EntryType.GAP: WatchGap,
    EntryType.EVICTION: Eviction,
    EntryType.INCIDENT_OPENED: IncidentOpened,
    EntryType.FINDING: FindingRecorded,
    EntryType.DIAGNOSIS: Diagnosis,
    EntryType.PLAN: Plan,
    EntryType.DECISION: DecisionRecord,
    EntryType.APPROVAL_REQUESTED: ApprovalRequested,
    EntryType.APPROVAL_ANSWERED: ApprovalAnswered,
    EntryType.APPROVAL_ESCALATED: ApprovalEscalated,
    EntryType.PLAN_EDITED: PlanEdited,
    EntryType.CLAIM: Claim,
    EntryType.CLAIM_REFUSED: ClaimRefused,
    EntryType.CALL: CallRecorded,
    EntryType.EFFECT: EffectOutcome,
    EntryType.OUTCOME: Outcome,
    EntryType.REMEDY: RemedyRecorded,
    EntryType.ESCALATION: Escalated,
    EntryType.INCIDENT_CLOSED: IncidentClosed,
    EntryType.STOP: StopRecorded,
    EntryType.POLICY_ACTIVATED: PolicyActivated,
    EntryType.ORDER: OrderRecorded,
    EntryType.KEY_ROTATED: KeyRotated,
    EntryType.EVIDENCE_ERASED: EvidenceErased,
    EntryType.EVIDENCE_PRUNED: EvidencePruned,
    EntryType.ARCHIVED: Archived,
    EntryType.ENTRIES_PRUNED: EntriesPruned,
    EntryType.TRUST_OUTCOME: TrustOutcome,
    EntryType.AGENT_STANDING: StandingChanged,
    EntryType.ROLLOUT_ADVANCED: RolloutAdvanced,
    EntryType.ROLLOUT_SET_BACK: RolloutSetBack,
    EntryType.ROLLOUT_JUDGED: RolloutJudged,
}


class Draft(Contract):
    """What a caller hands to the ledger: the ledger adds id, source, sequence and previous hash.

    `subject` is the incident, or the authority scope, or empty.
    """

    type: EntryType
    subject: str
    data: SerializeAsAny[Contract]

    def model_post_init(self, context: object, /) -> None:
        expected = ENTRY_DATA[self.type]
        if type(self.data) is not expected:
            raise TypeError(f"{self.type} carries {expected.__name__}, got {type(self.data).__name__}")


class Envelope(Contract):
    """CloudEvents 1.0 with two extension attributes. `data` is kept as raw JSON: verification needs no models."""

    schema_name = "watchkeeper.dev/entry/v1"
    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: str
    time: Instant
    subject: str = ""
    datacontenttype: Literal["application/json"] = "application/json"
    wkseq: int = Field(ge=1)
    wkprev: str
    """SHA-256 (hex) of this writer's previous entry; 64 zeros for its first."""
    data: dict[str, object]

    def typed(self) -> Contract:
        """The data as its contract. Raises `ValueError` for a type this version does not know."""
        return ENTRY_DATA[EntryType(self.type)].model_validate(self.data)

    def to_bytes(self) -> bytes:
        return entry_bytes(
            id=self.id,
            source=self.source,
            type=self.type,
            time=format_instant(self.time),
            subject=self.subject,
            wkseq=self.wkseq,
            wkprev=self.wkprev,
            data=canonical(self.model_dump(mode="json", include={"data"})["data"]),
        )


def entry_bytes(
    *, id: str, source: str, type: str, time: str, subject: str, wkseq: int, wkprev: str, data: bytes
) -> bytes:
    """The bytes of an envelope around canonical data. CloudEvents knows no empty subject: an entry about nothing in
    particular leaves it out.

    Raises ValueError for what canonical JSON cannot say.
    """
    about = b'"subject":%b,' % _text(subject) if subject else b""
    return (  # in the order of RFC 8785
        b'{"data":%b,"datacontenttype":"application/json","id":%b,"source":%b,"specversion":"1.0",%b"time":"%b",'
        b'"type":%b,"wkprev":"%b","wkseq":%d}'
        % (data, _text(id), _text(source), about, time.encode(), _text(type), wkprev.encode(), wkseq)
    )


@lru_cache(maxsize=1024)
def _text(value: str) -> bytes:
    """Entries of one append share most of their texts."""
    return canonical(value)


GENESIS_PREV = "0" * 64
