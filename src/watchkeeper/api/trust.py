"""What each specialist has earned, per action and scope. Nothing is granted here."""

from __future__ import annotations

from fastapi import APIRouter, Query

from watchkeeper.agents.manifest import MODULES, manifest_digest
from watchkeeper.api.auth import Viewer, Wired
from watchkeeper.policies.trust.standing import Standing

router = APIRouter(tags=["authority"])


@router.get("/v1/trust")
async def trust(wired: Wired, caller: Viewer, agent: str = Query(default="", max_length=128)) -> list[Standing]:
    """By agent, action and scope, of the specialists as this daemon runs them: an earlier make of one has a record of
    its own, which no longer counts. Raises NotFoundError for an agent that there is not."""
    asked = (agent,) if agent else tuple(MODULES)
    return list(await wired.trust.standings({name: manifest_digest(name) for name in asked}))
