"""A person's edit of a plan that waits for approval: another plan, with another hash and the person as its author.

The edit keeps to what the runbook offers (`runbooks.edit`) and is asked of the target again, as any plan is. The new
plan is decided anew and asked about anew; the approval of the old one ends with the edit and never applies. It does
not propose the new plan: the incident does, when it is looked at next.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from watchkeeper.agents.incidents import Incidents
from watchkeeper.agents.remediator.plan import Planner
from watchkeeper.core.clock import Clock
from watchkeeper.core.consents import ApprovalAnswer, ApprovalRequested, PlanEdit, PlanEdited
from watchkeeper.core.errors import ConflictError, InputError, NotFoundError
from watchkeeper.core.evidence import EvidenceKind
from watchkeeper.core.ids import ApprovalId, PlanId, new_id
from watchkeeper.core.plans import Plan
from watchkeeper.core.principals import Principal
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.policies.approval.approvals import Approvals, ApprovalState
from watchkeeper.policies.approval.edits import Edits
from watchkeeper.policies.approval.quorum import Panel
from watchkeeper.runbooks.edit import edited
from watchkeeper.store.engine import Store


@dataclass(frozen=True)
class Editing:
    store: Store
    clock: Clock
    incidents: Incidents
    approvals: Approvals
    edits: Edits
    planner: Planner
    evidence: Evidence

    async def edit(
        self,
        approval: ApprovalId,
        wanted: tuple[PlanEdit, ...],
        by: Principal,
        comment: str = "",
        plan_hash: str | None = None,
    ) -> Plan:
        """Makes the other plan and ends the approval of this one, in one commit. Raises ForbiddenError for who may not
        answer it, InputError for what the runbook does not offer, ConflictError where it no longer waits."""
        waiting = await self.approvals.get(approval)
        request, now = waiting.request, self.clock.now()
        Panel(request, waiting.reached).may_answer(by, ApprovalAnswer.REJECTED)
        if waiting.state is not ApprovalState.PENDING or request.expires <= now:
            raise _not_now(request, f"it is {waiting.state}, or its time is over")
        if plan_hash not in (None, request.plan_hash):
            raise _not_now(request, "it is about another plan than the one that was read")
        plan = await self._plan(request)
        made = await self._made(plan, wanted, by, now)
        async with self.store.write() as tx:
            await self.incidents.wake(tx, plan.incident)
            said = None
            if comment:
                said = await self.evidence.put(tx, EvidenceKind.COMMENT, comment.encode(), "text/plain")
            data = PlanEdited(
                approval=approval,
                incident=plan.incident,
                plan=plan.id,
                plan_hash=plan.plan_hash,
                becomes=made.id,
                becomes_hash=made.plan_hash,
                edits=wanted,
                by=by,
                comment=said,
            )
            await self.edits.record(tx, data, made)
        return made

    async def _plan(self, request: ApprovalRequested) -> Plan:
        plan = await self.incidents.plan(request.incident, request.plan)
        if plan is None or plan.plan_hash != request.plan_hash:
            raise NotFoundError(
                f"the plan behind {request.approval} is no longer kept",
                next_step=f"watchkeeper ledger show {request.incident}",
            )
        return plan

    async def _made(self, plan: Plan, wanted: tuple[PlanEdit, ...], by: Principal, now: datetime) -> Plan:
        runbook = next((each for each in self.planner.catalog.runbooks if each.ref == plan.runbook), None)
        if runbook is None:
            raise ConflictError(
                f"the runbook {plan.runbook.name} has changed since the plan was made",
                cause="its bounds are no longer those that the plan was made by",
                next_step="reject the plan: the next one is made by the runbook that is there",
            )
        actions = edited(runbook, plan.actions, plan.changes, wanted)
        if actions == plan.actions:
            raise InputError(
                "the edit changes nothing", cause="the plan has these values already", next_step="watchkeeper approve"
            )
        changes = await self.planner.changes(plan.incident, actions)
        if not any(field.before != field.after for change in changes for field in change.fields):
            raise InputError(
                "the edited plan would change nothing at its target",
                cause="the target has these values already, or tighter ones",
                next_step="reject the plan where nothing is to be done",
            )
        return plan.model_copy(
            update={
                "id": PlanId(new_id("pln", now)),
                "made": now,
                "actions": actions,
                "changes": changes,
                "authors": tuple(sorted({*plan.authors, by.id})),
                "edited_from": plan.id,
            }
        )


def _not_now(request: ApprovalRequested, cause: str) -> ConflictError:
    return ConflictError(
        f"the plan of {request.approval} cannot be edited",
        cause=cause,
        next_step=f"watchkeeper approvals show {request.approval}",
    )
