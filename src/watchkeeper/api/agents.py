"""The agents: what each is and how it stands, and people's word about them. Revoking one is a stop of its scope.

A promotion grants nothing by itself: policy says where it counts.
"""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Query
from pydantic import Field

from watchkeeper.agents.manifest import manifest_digest
from watchkeeper.agents.roster import Agent
from watchkeeper.api.auth import Admin, Operator, OperatorInPerson, Viewer, Wired
from watchkeeper.core.actions import Intent
from watchkeeper.core.agents import StandingChanged
from watchkeeper.core.claims import EpochSeen
from watchkeeper.core.decisions import Autonomy
from watchkeeper.core.evidence import EvidenceKind
from watchkeeper.core.model import Contract
from watchkeeper.core.subjects import Scope
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.policies.promotion.history import MOST, Line
from watchkeeper.policies.revocation.epochs import StopReport, Written
from watchkeeper.policies.trust.key import TrustKey

router = APIRouter(tags=["authority"], prefix="/v1/agents/{role}/{specialist}")
roster = APIRouter(tags=["authority"])

Text = Field(min_length=1, max_length=4096)


class ActionGiven(Contract):
    """One action in one scope, of the make that this daemon runs."""

    runbook: str = Field(min_length=1, max_length=128)
    intent: Intent
    scope: Scope
    reason: str = Text

    def key(self, agent: str) -> TrustKey:
        return TrustKey(
            agent=agent,
            manifest_digest=manifest_digest(agent),
            runbook=self.runbook,
            intent=self.intent,
            scope=self.scope,
        )


class PromotionGiven(ActionGiven):
    """`after`: `newest` of the agent as the person saw it. Sent again, the same promotion is refused."""

    autonomy: Autonomy = Autonomy.BOUNDED
    after: int = Field(ge=0)


class Why(Contract):
    """A stop must not wait for words, so none is needed."""

    reason: str = Field(default="", max_length=4096)

    def written(self, evidence: Evidence) -> Written | None:
        if not self.reason.strip():
            return None
        return partial(evidence.put, kind=EvidenceKind.COMMENT, body=self.reason.encode(), media_type="text/plain")


class CeilingGiven(Contract):
    ceiling: Autonomy
    reason: str = Text


@roster.get("/v1/agents")
async def agents(wired: Wired, caller: Viewer) -> list[Agent]:
    return list(await wired.roster.agents())


@router.get("")
async def agent(role: str, specialist: str, wired: Wired, caller: Viewer) -> Agent:
    """Raises NotFoundError for one that there is not."""
    return await wired.roster.agent(f"{role}/{specialist}")


@router.post("/promote")
async def promote(
    role: str, specialist: str, given: PromotionGiven, wired: Wired, caller: OperatorInPerson
) -> StandingChanged:
    """Refused while the evidence lacks anything (`GET /v1/trust` says what)."""
    key = given.key(f"{role}/{specialist}")
    return await wired.roster.promotions.promote(key, given.autonomy, caller, given.reason, given.after)


@router.post("/demote")
async def demote(
    role: str, specialist: str, given: ActionGiven, wired: Wired, caller: OperatorInPerson
) -> list[StandingChanged]:
    """Takes a promotion back, at once and of every make: decisions of before are made anew."""
    return list(await wired.roster.promotions.demote(given.key(f"{role}/{specialist}"), caller, given.reason))


@router.post("/ceiling")
async def ceiling(
    role: str, specialist: str, given: CeilingGiven, wired: Wired, caller: OperatorInPerson
) -> StandingChanged:
    """How far the agent may ever go, whatever policy says."""
    name = f"{role}/{specialist}"
    manifest_digest(name)
    return await wired.roster.promotions.set_ceiling(name, given.ceiling, caller, given.reason)


@router.post("/revoke")
async def revoke(role: str, specialist: str, given: Why, wired: Wired, caller: Operator) -> StopReport:
    """The stop of `agent:NAME`: one commit, until a person reinstates it."""
    manifest_digest(f"{role}/{specialist}")
    return await wired.epochs.stop(f"agent:{role}/{specialist}", caller, why=given.written(wired.evidence))


@router.post("/reinstate")
async def reinstate(role: str, specialist: str, given: Why, wired: Wired, caller: Admin) -> EpochSeen:
    """Lifts that stop."""
    manifest_digest(f"{role}/{specialist}")
    return await wired.epochs.resume(f"agent:{role}/{specialist}", caller, why=given.written(wired.evidence))


@router.get("/history")
async def history(
    role: str,
    specialist: str,
    wired: Wired,
    caller: Viewer,
    limit: int = Query(default=50, ge=1, le=MOST),
    before: int | None = Query(default=None, ge=1),
) -> list[Line]:
    """Promotions, demotions, ceilings, revocations and reinstatements, the latest first."""
    name = f"{role}/{specialist}"
    manifest_digest(name)
    return await wired.roster.promotions.history(name, limit, before)
