"""Consent as the ledger records it: what people were asked, what they answered and edited, what an order covers.

Data of entries (`core.entries`), with no logic of its own: who counts is for `policies.approval.quorum`.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from watchkeeper.core.decisions import ApprovalTerms
from watchkeeper.core.evidence import EvidenceRef
from watchkeeper.core.ids import ApprovalId, DecisionId, IncidentId, PlanId, RemedyId
from watchkeeper.core.model import Contract, Instant, Scalar
from watchkeeper.core.principals import Principal


class ApprovalRequested(Contract):
    approval: ApprovalId
    incident: IncidentId
    plan: PlanId
    plan_hash: str
    decision: DecisionId
    terms: tuple[ApprovalTerms, ...]
    expires: Instant
    authors: tuple[str, ...] = ()
    """The people who edited the plan: no term that says `not_author` counts them."""
    supersedes: tuple[ApprovalId, ...] = ()
    """Requests for earlier plans of the incident, which end with this one."""


class ApprovalAnswer(StrEnum):
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    """Another plan took its place: made anew, or edited by a person."""


class ApprovalEscalated(Contract):
    """A step of a term's escalation was due: from here on `roles` may answer for the term of `node` too."""

    approval: ApprovalId
    incident: IncidentId
    plan_hash: str
    node: str
    term: int = Field(ge=0)
    """Which of the request's terms."""
    step: int = Field(ge=0)
    """Which of the term's steps."""
    roles: tuple[str, ...] = ()
    notified: tuple[str, ...] = ()


class ApprovalAnswered(Contract):
    approval: ApprovalId
    incident: IncidentId
    plan_hash: str
    answer: ApprovalAnswer
    by: Principal | None
    comment: EvidenceRef | None = None
    via: str = ""
    """`terminal`, `api`, `demo-timeout`: how the answer reached us."""


class PlanEdit(Contract):
    """One parameter of one action, as a person set it."""

    step: int = Field(ge=0)
    name: str = Field(max_length=64)
    value: Scalar


class PlanEdited(Contract):
    """A person's edit made another plan; the approval of the one before ended with it."""

    approval: ApprovalId
    incident: IncidentId
    plan: PlanId
    plan_hash: str
    becomes: PlanId
    becomes_hash: str
    edits: tuple[PlanEdit, ...]
    by: Principal
    comment: EvidenceRef | None = None


class HalfDone(Contract):
    """A step of a plan that is in force, or may turn out to be: `remedy` is None while its effect is not settled."""

    incident: IncidentId
    plan: PlanId
    step: int = Field(ge=0)
    remedy: RemedyId | None = None
