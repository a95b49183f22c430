"""Incidents: what is going on, and a person's word on it."""

from __future__ import annotations

from fastapi import APIRouter, Query
from pydantic import Field

from watchkeeper.agents.closing import Closing
from watchkeeper.agents.incidents import Incident, Request
from watchkeeper.api.auth import Operator, Viewer, Wired
from watchkeeper.core.errors import ConflictError
from watchkeeper.core.ids import IncidentId
from watchkeeper.core.model import Contract
from watchkeeper.core.remedies import Remedy
from watchkeeper.ledger.replays.story import StoryStep, story

router = APIRouter(tags=["incidents"])


class Closed(Contract):
    """Why it is over."""

    comment: str = Field(min_length=1, max_length=2000)


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
        wired.store, wired.clock, wired.incidents, wired.claims, wired.remedies, wired.evidence, wired.trust
    )
    return await closing.close(incident, caller, given.comment)


@router.get("/v1/remedies")
async def remedies(wired: Wired, caller: Viewer) -> list[Remedy]:
    return list(await wired.remedies.in_force())
