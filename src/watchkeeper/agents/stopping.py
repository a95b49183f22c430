"""`stop --then-undo`, carried out: each incident of which something stands half done gets the person's order.

The stop's commit holds the order; this finds it, so that a crash between the two loses nothing. An incident is asked
again, a bounded number of times, while something that the order covers is still in force: an effect that was in flight
at the stop may turn out to be done only later. It undoes nothing itself: the incident's graph does, under claims.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

import structlog

from watchkeeper.agents.incidents import Incident, Incidents, Request, Status
from watchkeeper.agents.remedies import CHANGED
from watchkeeper.core.clock import Clock
from watchkeeper.core.consents import HalfDone
from watchkeeper.core.errors import ConflictError
from watchkeeper.core.ids import IncidentId, OrderId, PlanId, RemedyId
from watchkeeper.core.model import Contract
from watchkeeper.core.remedies import HELD, RemedyStatus
from watchkeeper.policies import rows
from watchkeeper.policies.claiming.checks import Refusal
from watchkeeper.policies.revocation.stops import Asked, Step, StopOrder, StopOrders
from watchkeeper.store.engine import Store

log = structlog.get_logger(__name__)

ALIVE = timedelta(hours=1)
"""How long after the stop its order is still carried on."""
AGAIN_S, MAX_ASKS = 10.0, 6


class Came(StrEnum):
    """What came of one step that the order covers."""

    WAITING = "waiting"
    UNDONE = "undone"
    NOTHING = "nothing_was_done"
    GIVEN_BACK = "given_back"
    NOT_UNDONE = "not_undone"
    UNKNOWN = "unknown"


class UndoResult(Contract):
    """`why` is an enumerated reason, or an adapter's code."""

    incident: IncidentId
    plan: PlanId
    step: int
    target: str
    remedy: RemedyId | None
    came: Came
    why: str = ""


class StopUndo(Contract):
    order: OrderId
    scope: str
    by: str
    results: tuple[UndoResult, ...]


class Stopping:
    def __init__(self, store: Store, incidents: Incidents, orders: StopOrders, clock: Clock) -> None:
        self._store, self._incidents, self._orders, self._clock = store, incidents, orders, clock

    async def run_once(self) -> int:
        """Asks what has to be asked; returns of how many incidents."""
        asked, orders = 0, await self._orders.since(self._clock.now() - ALIVE)
        left = await self._orders.open_steps() if orders else frozenset()
        for order in orders:
            if left.isdisjoint((each.plan, each.step) for each in order.covers):
                continue  # all of it has ended
            results = (await self.report(order)).results
            for incident in sorted({each.incident for each in results if each.came is Came.WAITING}):
                asked += await self._ask(order, incident)
        return asked

    async def results(self, order: OrderId) -> StopUndo:
        return await self.report(await self._orders.get(order))

    async def report(self, order: StopOrder) -> StopUndo:
        """How each step that the order covers stands now."""
        asked = await self._orders.asked(order.order)
        over = self._clock.now() > order.at + ALIVE
        results = []
        for covered in order.covers:
            of_incident = tuple(each for each in asked if each.incident == covered.incident)
            step = await self._orders.step(covered, of_incident)
            incident = await self._incidents.get(covered.incident)
            came, why = _came(step, incident, of_incident, over=over)
            results.append(_result(covered, step, came, why))
        return StopUndo(order=order.order, scope=order.scope, by=order.by.id, results=tuple(results))

    async def _ask(self, order: StopOrder, incident_id: IncidentId) -> bool:
        incident = await self._incidents.get(incident_id)
        asked = [each for each in await self._orders.asked(order.order) if each.incident == incident_id]
        now = self._clock.now()
        if asked and (not _idle(incident) or now < asked[-1].at + timedelta(seconds=AGAIN_S)):
            return False
        try:
            async with self._store.write() as tx:
                given = await self._incidents.order(tx, incident_id, Request.UNDO, order.by, stop=order.order)
                await self._orders.ask(tx, order.order, Asked(order=given, incident=incident_id, at=now))
        except ConflictError as error:  # it was closed meanwhile
            log.warning("stop_undo_not_asked", incident=incident_id, what=error.what)
            return False
        return True


def _idle(incident: Incident) -> bool:
    """The order before was taken up and came to its end."""
    return incident.order_id is None and incident.status is Status.ESCALATED


def _came(step: Step, incident: Incident, asked: tuple[Asked, ...], *, over: bool) -> tuple[Came, str]:
    remedy = step.remedy
    if remedy is None:
        if step.applied in rows.UNSETTLED:
            return Came.UNKNOWN, "effect_not_settled"
        return Came.NOTHING, step.applied
    match remedy.status:
        case RemedyStatus.UNDONE:
            return Came.UNDONE, ""
        case RemedyStatus.RELEASED:
            return Came.GIVEN_BACK, ""
        case RemedyStatus.KEPT:
            return Came.NOT_UNDONE, RemedyStatus.KEPT
        case RemedyStatus.LOST:
            return Came.NOT_UNDONE, CHANGED
    assert remedy.status in HELD
    if incident.status is Status.CLOSED:
        return Came.NOT_UNDONE, "incident_closed"
    ended = over or step.said == Refusal.STOPPED or (len(asked) >= MAX_ASKS and _idle(incident))
    return (Came.NOT_UNDONE if ended else Came.WAITING), step.said


def _result(covered: HalfDone, step: Step, came: Came, why: str) -> UndoResult:
    return UndoResult(
        incident=covered.incident,
        plan=covered.plan,
        step=covered.step,
        target=step.target,
        remedy=None if step.remedy is None else step.remedy.id,
        came=came,
        why=why,
    )
