"""The results of an incident's steps: what a node writes once and later nodes read.

They are kept for going on, and forgotten a day after the incident's end; the record is the ledger's.
"""

from __future__ import annotations

from pydantic import Field

from watchkeeper.core.claims import EpochSeen
from watchkeeper.core.consents import ApprovalRequested
from watchkeeper.core.decisions import DecisionRecord
from watchkeeper.core.model import Contract, Instant
from watchkeeper.core.outcomes import EffectOutcome, Outcome
from watchkeeper.core.plans import Plan


class Obstacle(Contract):
    """A target that would refuse its action: the adapter's named reason, and what a person has to change."""

    target: str
    reason: str
    fix: str


class Proposed(Contract):
    """A plan, or the reasons why no runbook could make one (`runbook: reason`) and what stood in the way."""

    plan: Plan | None
    refused: tuple[str, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()


class Decided(Contract):
    """A decision with the epochs under which it was made."""

    record: DecisionRecord
    epochs: tuple[EpochSeen, ...]


class Asked(Contract):
    request: ApprovalRequested


class Done(Contract):
    """The effects of one phase over a plan's actions, in order."""

    effects: tuple[EffectOutcome, ...]


class Phase(Contract):
    """How far a phase came in one go. `refused`: the reason why a later step was not claimed, empty if none was."""

    done: Done
    refused: str = ""


class Checked(Contract):
    """One reading of the verification."""

    outcome: Outcome
    guard_breached: bool


class Noted(Contract):
    """A step with nothing to say but that it was taken, and when."""

    at: Instant
    note: str = Field(default="", max_length=200)
