"""Incidents: what is going on, and a person's word on it."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Query
from pydantic import Field

from watchkeeper.agents.incidents import Incident, Request
from watchkeeper.api.auth import Approver, Operator, Viewer, Wired
from watchkeeper.core.entries import ApprovalAnswer
from watchkeeper.core.errors import ConflictError
from watchkeeper.core.evidence import EvidenceKind
from watchkeeper.core.ids import ApprovalId, IncidentId
from watchkeeper.core.model import Contract
from watchkeeper.core.remedies import Remedy
from watchkeeper.ledger.story import StoryStep, story
from watchkeeper.policies.approvals import Approval

router = APIRouter(tags=["incidents"])


class Answer(Contract):
    """`via` says how the person answered, for the record."""

    answer: Literal["approved", "rejected"]
    comment: str = Field(default="", max_length=2000)
    via: str = Field(default="api", max_length=32, pattern=r"^[a-z0-9-]+$")


@router.get("/v1/incidents")
async def listing(
    wired: Wired, caller: Viewer, closed: bool = False, limit: int = Query(default=100, ge=1, le=1000)
) -> list[Incident]:
    return list(await wired.incidents.list(include_closed=closed, limit=limit))


@router.get("/v1/incidents/{incident}")
async def one(incident: IncidentId, wired: Wired, caller: Viewer) -> Incident:
    return await wired.incidents.get(incident)


@router.get("/v1/incidents/{incident}/story")
async def tell(incident: IncidentId, wired: Wired, caller: Viewer) -> list[StoryStep]:
    """The incident's ledger entries in order, each with its data and the evidence that is still there."""
    await wired.incidents.get(incident)
    return await story(wired.log, wired.evidence, incident)


@router.post("/v1/incidents/{incident}/undo", status_code=202)
async def undo(incident: IncidentId, wired: Wired, caller: Operator) -> Incident:
    """Asks that everything this incident holds in force be put back."""
    held = [remedy for remedy in await wired.remedies.in_force() if remedy.incident == incident]
    if not held:
        raise ConflictError(
            f"nothing of incident {incident} is in force",
            cause="it did nothing, or what it did was already given back",
            next_step=f"watchkeeper ledger show {incident}",
        )
    await wired.incidents.ask(incident, Request.UNDO, caller)
    return await wired.incidents.get(incident)


@router.get("/v1/remedies")
async def remedies(wired: Wired, caller: Viewer) -> list[Remedy]:
    return list(await wired.remedies.in_force())


@router.get("/v1/approvals")
async def approvals(wired: Wired, caller: Viewer) -> list[Approval]:
    """What waits for a person."""
    return list(await wired.approvals.waiting())


@router.get("/v1/approvals/{approval}")
async def approval(approval: ApprovalId, wired: Wired, caller: Viewer) -> Approval:
    return await wired.approvals.get(approval)


@router.post("/v1/approvals/{approval}")
async def answer(approval: ApprovalId, given: Answer, wired: Wired, caller: Approver) -> Approval:
    """One person's answer. It binds the plan hash that the approval names, once."""
    said = ApprovalAnswer(given.answer)
    comment = (EvidenceKind.COMMENT, given.comment.encode()) if given.comment else None
    answered = await wired.approvals.answer(approval, said, caller, via=given.via, comment=comment)
    await wired.incidents.wake(answered.incident)
    return answered
