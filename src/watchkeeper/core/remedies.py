"""What we changed and still hold."""

from __future__ import annotations

from enum import StrEnum

from watchkeeper.core.actions import Change
from watchkeeper.core.ids import IncidentId, PlanId, RemedyId
from watchkeeper.core.model import Contract, Instant


class RemedyStatus(StrEnum):
    IN_FORCE = "in_force"
    RELEASING = "releasing"
    RELEASED = "released"
    UNDONE = "undone"
    LOST = "lost"  # the target no longer holds our value: somebody else changed it, and we touch nothing
    KEPT = "kept"  # it helped, its runbook gives nothing back, and its time is over: it stays, and is nobody's remedy


HELD = (RemedyStatus.IN_FORCE, RemedyStatus.RELEASING)
"""What is still ours to give back."""


class Remedy(Contract):
    """`change` is what we did; its inverse is the way back. `given_back`: the part given back so far (factor 0..1)."""

    schema_name = "watchkeeper.dev/remedy/v1"
    id: RemedyId
    incident: IncidentId
    plan: PlanId
    step: int
    holder: str
    change: Change
    since: Instant
    expires: Instant
    status: RemedyStatus
    given_back: float = 0.0
    relapses: int = 0
