"""The rollout of each service: where it stands, what the next phase asks, and the words that move it.

No phase grants anything here: policy says what counts in which.
"""

from __future__ import annotations

from fastapi import APIRouter, Query
from pydantic import Field

from watchkeeper.agents.rollout import Rollout
from watchkeeper.api.auth import Judge, OperatorInPerson, Viewer, Wired
from watchkeeper.core.ids import IncidentId
from watchkeeper.core.model import Contract
from watchkeeper.core.rollout import RolloutAdvanced, RolloutJudged, RolloutSetBack
from watchkeeper.core.subjects import Scope

router = APIRouter(tags=["authority"])

Text = Field(min_length=1, max_length=4096)
ONE = "/v1/rollouts/{environment}/{service}"


class RolloutSaid(Contract):
    """One line of a rollout's history; `number` goes on to older ones. One of the three is there."""

    number: int
    advanced: RolloutAdvanced | None = None
    set_back: RolloutSetBack | None = None
    judged: RolloutJudged | None = None


class MoveGiven(Contract):
    reason: str = Text


class JudgementGiven(Contract):
    right: bool
    reason: str = Text


@router.get("/v1/rollouts")
async def rollouts(wired: Wired, caller: Viewer) -> list[Rollout]:
    """Of every service that is configured, was moved, or had an incident."""
    return await wired.rollouts.all()


@router.get(ONE)
async def rollout(environment: str, service: str, wired: Wired, caller: Viewer) -> Rollout:
    return await wired.rollouts.of(Scope(environment=environment, service=service))


@router.post(ONE + "/advance")
async def advance(
    environment: str, service: str, given: MoveGiven, wired: Wired, caller: OperatorInPerson
) -> RolloutAdvanced:
    """One phase up; refused while the evidence lacks anything."""
    return await wired.rollouts.advance(Scope(environment=environment, service=service), caller, given.reason)


@router.post(ONE + "/set-back")
async def set_back(
    environment: str, service: str, given: MoveGiven, wired: Wired, caller: OperatorInPerson
) -> RolloutSetBack:
    """One phase down, at once: decisions of before are made anew."""
    return await wired.rollouts.set_back(Scope(environment=environment, service=service), caller, given.reason)


@router.get(ONE + "/history")
async def history(
    environment: str,
    service: str,
    wired: Wired,
    caller: Viewer,
    limit: int = Query(default=50, ge=1, le=1000),
    before: int | None = Query(default=None, ge=1),
) -> list[RolloutSaid]:
    """The latest first."""
    found = await wired.rollouts.history(Scope(environment=environment, service=service), limit, before)
    return [
        RolloutSaid(
            number=number,
            advanced=said if isinstance(said, RolloutAdvanced) else None,
            set_back=said if isinstance(said, RolloutSetBack) else None,
            judged=said if isinstance(said, RolloutJudged) else None,
        )
        for number, said in found
    ]


@router.post("/v1/incidents/{incident}/judge")
async def judge(incident: IncidentId, given: JudgementGiven, wired: Wired, caller: Judge) -> RolloutJudged:
    """Whether what was found and proposed was right; by an approver or operator in person."""
    return await wired.rollouts.judge(incident, caller, given.reason, right=given.right)
