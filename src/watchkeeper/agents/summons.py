"""Tells people what waits for their approval: together, seldom, and further people when nobody answers.

Requests that wait for the same people (`audience`) go into one notice, and the same people get at most one notice in
`timing.approval_batch_s`; but nothing waits to be told for longer than a quarter of its own time. A request that was
superseded before it was told is never told. A step of an escalation is recorded, told and in force in one transaction,
once, whoever asks and however often the daemon is restarted. It answers nothing and drives no incident.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from watchkeeper.agents.incidents import Incident, Incidents
from watchkeeper.agents.outbox import Notice, Outbox, Waiting
from watchkeeper.core.clock import Clock
from watchkeeper.core.consents import ApprovalEscalated
from watchkeeper.policies.approval.approvals import Approval, Approvals, audience
from watchkeeper.store.engine import Store

MOST = 20
"""Requests in one notice, and in one answer; what is more comes in the next."""
SHARE = 4
"""A request is told before this part of its time is over."""


class Summons:
    def __init__(
        self, store: Store, incidents: Incidents, approvals: Approvals, outbox: Outbox, clock: Clock, batch_s: float
    ) -> None:
        self._store, self._incidents, self._approvals = store, incidents, approvals
        self._outbox, self._clock, self._batch = outbox, clock, timedelta(seconds=batch_s)

    async def run_once(self) -> int:
        """Tells what is due; returns how many requests people were told of."""
        waiting = await self._approvals.pending()
        told = 0
        for whom in dict.fromkeys(audience(each.request) for each in waiting):
            untold = [each for each in waiting if each.told is None and audience(each.request) == whom]
            if untold and await self._is_due(whom, untold):
                told += await self._tell(untold[:MOST])
        for each in waiting:
            told += await self._escalate(each)
        return told

    async def _is_due(self, whom: str, untold: Iterable[Approval]) -> bool:
        now, last = self._clock.now(), await self._approvals.last_told(whom)
        return last is None or now >= last + self._batch or any(now >= _latest(each) for each in untold)

    async def _tell(self, untold: list[Approval]) -> int:
        lines = [(await self._line(each), await self._incidents.get(each.request.incident)) for each in untold]
        async with self._store.write() as tx:
            news = await self._approvals.mark_told(tx, [each.request.approval for each in untold])
            listed = [(line, incident) for line, incident in lines if line.approval in news]
            if listed:
                await self._outbox.put(tx, self._notice(listed, "approval_required"))
        return len(listed)

    async def _escalate(self, approval: Approval) -> int:
        request, asked = approval.request, approval.asked
        known = {(each.term, each.step) for each in approval.reached}
        done = 0
        for term, terms in enumerate(request.terms):
            for n, step in enumerate(terms.escalation):
                if asked is None or (term, n) in known or self._clock.now() < asked + timedelta(seconds=step.after_s):
                    continue
                sinks = self._outbox.those(step.notify)
                reached = ApprovalEscalated(
                    approval=request.approval,
                    incident=request.incident,
                    plan_hash=request.plan_hash,
                    node=terms.node,
                    term=term,
                    step=n,
                    roles=step.roles,
                    notified=sinks,
                )
                line = await self._line(approval, step.roles)
                notice = self._notice([(line, await self._incidents.get(request.incident))], "approval_escalated")
                async with self._store.write() as tx:
                    if await self._approvals.escalate(tx, reached):
                        await self._outbox.put(tx, notice, sinks)
                        done += 1
        return done

    def _notice(self, listed: list[tuple[Waiting, Incident]], reason: str) -> Notice:
        """About the first one's incident, with all of them listed."""
        incident, lines = listed[0][1], tuple(line for line, _ in listed)
        ids = " ".join(each.approval for each in lines)
        return Notice(
            incident=incident.id,
            kind="approval",
            reason=reason,
            service=incident.scope.service,
            environment=incident.scope.environment,
            mode=incident.mode,
            subject=incident.subject,
            at=self._clock.now(),
            proposed=tuple(said for each in lines for said in each.proposed),
            commands=(f"watchkeeper approve {ids}", f"watchkeeper reject {ids}"),
            approvals=lines,
        )

    async def _line(self, approval: Approval, roles: tuple[str, ...] = ()) -> Waiting:
        request = approval.request
        plan = await self._incidents.plan(request.incident, request.plan)
        actions = () if plan is None else plan.actions
        return Waiting(
            approval=request.approval,
            incident=request.incident,
            plan_hash=request.plan_hash,
            proposed=tuple(f"{action.intent} {action.target}" for action in actions),
            roles=tuple(sorted({*roles, *(role for term in request.terms for role in term.roles)})),
            expires=request.expires,
            supersedes=request.supersedes,
        )


def _latest(approval: Approval) -> datetime:
    """When it is told at the latest."""
    asked = approval.asked or approval.request.expires
    return asked + (approval.request.expires - asked) / SHARE
