"""Incidents: what is going on, and a person's word on it."""

from __future__ import annotations

from contextlib import suppress

from fastapi import APIRouter, Query
from pydantic import Field, ValidationError

from watchkeeper.agents.closing import Closing
from watchkeeper.agents.incidents import Incident, Request
from watchkeeper.api.auth import Operator, Viewer, Wired
from watchkeeper.core.decisions import DecisionRecord
from watchkeeper.core.errors import ConflictError
from watchkeeper.core.ids import IncidentId
from watchkeeper.core.model import Contract
from watchkeeper.core.remedies import Remedy
from watchkeeper.ledger.replays.story import Part, StoryStep, story
from watchkeeper.policies.messages import Messages, RuleMessage

router = APIRouter(tags=["incidents"])


class Closed(Contract):
    """Why it is over."""

    comment: str = Field(min_length=1, max_length=2000)


class Told(StoryStep):
    """`messages`: of the rules that were not true when it was decided, from the policy that was asked."""

    messages: tuple[RuleMessage, ...] = ()


@router.get("/v1/incidents")
async def listing(
    wired: Wired, caller: Viewer, closed: bool = False, limit: int = Query(default=100, ge=1, le=1000)
) -> list[Incident]:
    return list(await wired.incidents.list(include_closed=closed, limit=limit))


@router.get("/v1/incidents/{incident}")
async def one(incident: IncidentId, wired: Wired, caller: Viewer) -> Incident:
    return await wired.incidents.get(incident)


@router.get("/v1/incidents/{incident}/story")
async def tell(incident: IncidentId, wired: Wired, caller: Viewer) -> list[Told]:
    """The incident's ledger entries in order, each with its data, the evidence that is still there, and what the
    policy's rules tell people about it."""
    await wired.incidents.get(incident)
    messages = Messages(wired.versions)
    return [await _told(step, messages) for step in await story(wired.log, wired.evidence, incident)]


async def _told(step: StoryStep, messages: Messages) -> Told:
    """Of a decision that this version can read."""
    found: tuple[RuleMessage, ...] = ()
    if step.part is Part.DECIDED:
        with suppress(ValidationError):
            found = await messages.of(DecisionRecord.model_validate(step.data).decision)
    return Told(**dict(step), messages=found)


@router.post("/v1/incidents/{incident}/undo", status_code=202)
async def undo(incident: IncidentId, wired: Wired, caller: Operator) -> Incident:
    """Asks that everything this incident holds in force be put back."""
    await wired.incidents.get(incident)
    if not any(remedy.incident == incident for remedy in await wired.remedies.in_force()):
        raise ConflictError(
            f"nothing of incident {incident} is in force",
            cause="it did nothing, or what it did was already given back",
            next_step=f"watchkeeper ledger show {incident}",
        )
    await wired.incidents.ask(incident, Request.UNDO, caller)
    return await wired.incidents.get(incident)


@router.post("/v1/incidents/{incident}/close")
async def close(incident: IncidentId, given: Closed, wired: Wired, caller: Operator) -> Incident:
    """Closes an escalated incident by a person's word. Refused while anything of it is in force."""
    closing = Closing(
        store=wired.store,
        clock=wired.clock,
        incidents=wired.incidents,
        approvals=wired.approvals,
        claims=wired.claims,
        remedies=wired.remedies,
        evidence=wired.evidence,
        trust=wired.trust,
    )
    return await closing.close(incident, caller, given.comment)


@router.get("/v1/remedies")
async def remedies(wired: Wired, caller: Viewer) -> list[Remedy]:
    return list(await wired.remedies.in_force())
