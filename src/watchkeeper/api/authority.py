"""The stop, its lifting, and where things stand.

A stop calls nothing back that was sent: what may still land is listed, and asked for again.
"""

from __future__ import annotations

from fastapi import APIRouter, Query
from pydantic import Field

from watchkeeper.agents.stopping import StopUndo
from watchkeeper.api.auth import Admin, Operator, Viewer, Wired
from watchkeeper.api.services import HealthReport
from watchkeeper.core.claims import Claim, EpochSeen
from watchkeeper.core.ids import OrderId
from watchkeeper.core.model import Contract
from watchkeeper.policies.revocation.epochs import EpochStatus, StopReport, StopStanding
from watchkeeper.signals.sources import SourceReport

router = APIRouter(tags=["authority"])


class ScopeGiven(Contract):
    """`all`, `environment:E`, `service:E/S`, `agent:A`, `action:RUNBOOK/INTENT` or `target:ADAPTER/KIND/ID`."""

    scope: str = Field(default="all", max_length=640)


class StopGiven(ScopeGiven):
    """`then_undo`: the caller also orders that what stands half done in the scope is undone."""

    then_undo: bool = False


class Status(Contract):
    """Everything a person asks first: is it watching, may it act, what waits, what is in force, who delivers."""

    health: HealthReport
    policy_version: str
    stopped: tuple[EpochStatus, ...]
    incidents_open: int
    approvals_waiting: int
    remedies_in_force: int
    in_flight: tuple[Claim, ...]
    notifications_failing: int
    sources: tuple[SourceReport, ...]
    guarding: str = "triggers"
    """What keeps the daemon's database role from changing the record: `triggers`, or `triggers_and_roles`."""


@router.post("/v1/stop")
async def stop(given: StopGiven, wired: Wired, caller: Operator) -> StopReport:
    """Takes authority away in one commit; lists what was already sent and is not settled."""
    return await wired.epochs.stop(given.scope, caller, then_undo=given.then_undo)


@router.get("/v1/stop")
async def standing(wired: Wired, caller: Viewer, scope: str = Query(default="all", max_length=640)) -> StopStanding:
    """Whether the scope is stopped, and what of it may still land or is not known."""
    return await wired.epochs.standing(scope)


@router.get("/v1/stop/undo/{order}")
async def undone(order: OrderId, wired: Wired, caller: Viewer) -> StopUndo:
    """What came of each step that a `then_undo` covers."""
    return await wired.stopping.results(order)


@router.post("/v1/resume")
async def resume(given: ScopeGiven, wired: Wired, caller: Admin) -> EpochSeen:
    """Lifts a stop. Decisions made before it are made anew."""
    return await wired.epochs.resume(given.scope, caller)


@router.get("/v1/status")
async def status(wired: Wired, caller: Viewer) -> Status:
    outbox = await wired.outbox.status()
    scopes = await wired.epochs.status()
    return Status(
        health=wired.health(),
        policy_version=(await wired.versions.active()).version,
        stopped=tuple(scope for scope in scopes if scope.stopped),
        incidents_open=await wired.incidents.count_open(),
        approvals_waiting=len(await wired.approvals.pending()),
        remedies_in_force=len(await wired.remedies.in_force()),
        in_flight=await wired.claims.open_claims(),
        notifications_failing=outbox.failing,
        sources=wired.book.reports(),
        guarding=wired.guarding,
    )
