"""What a candidate policy would have changed, as a contract.

`unobserved` is never an outcome: of what was not done nobody knows what would have come of it. It cannot say which
decisions would have been made that never were.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from watchkeeper.core.actions import Intent
from watchkeeper.core.decisions import ApprovalTerms, Gate, Reason, Verdict
from watchkeeper.core.ids import DecisionId, IncidentId, PlanId
from watchkeeper.core.model import Contract, Instant

MAX_LISTED = 1000
"""Decisions that a report lists; all are counted."""


class Change(StrEnum):
    """The candidate's verdict beside the recorded one. `terms`: the same verdict for other reasons, with other
    approvals, or for another time."""

    SAME = "same"
    WIDER = "wider"
    NARROWER = "narrower"
    TERMS = "terms"


class Used(StrEnum):
    """What a stateful gate was asked with. `recorded`: what the decision recorded, which the candidate would not have
    changed. `refolded`: what would have been, had the candidate decided from the beginning of the time looked at.
    `incomplete`: folded from a log that does not reach back far enough."""

    RECORDED = "recorded"
    REFOLDED = "refolded"
    INCOMPLETE = "incomplete"


class GateState(Contract):
    gate: Gate
    used: Used


class Became(StrEnum):
    """What came of the plan, as verified. `open`: done, and not verified (yet); `failed`: no effect took place;
    `not_executed`: the record has no effect, and the candidate would have none; `unobserved`: the candidate would let
    through what was never done."""

    RECOVERED = "recovered"
    NOT_RECOVERED = "not_recovered"
    INCONCLUSIVE = "inconclusive"
    MOOT = "moot"
    OPEN = "open"
    FAILED = "failed"
    NOT_EXECUTED = "not_executed"
    UNOBSERVED = "unobserved"


class Objection(Contract):
    """A gate that did not let the plan pass, and the document that set its bound."""

    gate: Gate
    reason: Reason
    node: str
    step: int | None = None


class Said(Contract):
    """One policy's answer."""

    verdict: Verdict
    objections: tuple[Objection, ...]
    approvals: tuple[ApprovalTerms, ...] = ()
    remedy_ttl_s: int | None = None


class DecisionDiffers(Contract):
    """`rolled_back`: what the plan did was undone, by us or on a person's order. `resolution`: how the incident was
    closed; None while it is open."""

    decision: DecisionId
    incident: IncidentId
    plan: PlanId
    at: Instant
    environment: str
    service: str
    agent: str
    runbook: str
    intents: tuple[Intent, ...]
    change: Change
    recorded: Said
    candidate: Said
    became: Became
    rolled_back: bool = False
    resolution: str | None = None
    state: tuple[GateState, ...] = ()


class Row(Contract):
    """The decisions of one service and runbook."""

    environment: str
    service: str
    runbook: str
    same: int = Field(default=0, ge=0)
    narrower: int = Field(default=0, ge=0)
    wider: int = Field(default=0, ge=0)
    terms: int = Field(default=0, ge=0)


class OutcomeCount(Contract):
    became: Became
    count: int
    rolled_back: int = 0


class StateCount(Contract):
    """How many decisions were asked this gate, by the state they were asked with."""

    gate: Gate
    recorded: int = 0
    refolded: int = 0
    incomplete: int = 0


class WhatIf(Contract):
    """`since` and `until` bound the decisions that were weighed anew; `begins` is the log's first entry. `blocked`:
    done then, and not let through alone or after approval as it was; `let_through`: never done, and now allowed."""

    schema_name = "watchkeeper.dev/what-if/v1"
    policy: str
    begins: Instant | None
    since: Instant | None
    until: Instant | None
    weighed: int
    same: int
    narrower: int
    wider: int
    terms: int
    unreadable: int
    blocked: tuple[OutcomeCount, ...]
    let_through: int
    rows: tuple[Row, ...]
    state: tuple[StateCount, ...]
    differing: tuple[DecisionDiffers, ...]
    unlisted: int = 0
