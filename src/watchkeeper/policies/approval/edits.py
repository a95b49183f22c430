"""Plans that people made of others: kept with the approval that they ended, until the incident proposes them.

An edit is one commit: the old approval is superseded, the new plan is kept, and both stand in the ledger under the
person's name. It does not judge the edit: that is for the runbook's bounds before, and for policy and people after.
"""

from __future__ import annotations

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.clock import Clock
from watchkeeper.core.consents import PlanEdited
from watchkeeper.core.entries import Draft, EntryType
from watchkeeper.core.errors import ConflictError
from watchkeeper.core.ids import ApprovalId, IncidentId
from watchkeeper.core.plans import Plan
from watchkeeper.ledger.append import Ledger
from watchkeeper.policies.approval.approvals import Approvals
from watchkeeper.policies.tables import plan_edit
from watchkeeper.store.engine import Store

MAX_EDITS = 10
"""Of one incident: whoever still changes the plan then acts by hand."""


class Edits:
    def __init__(self, store: Store, ledger: Ledger, approvals: Approvals, clock: Clock) -> None:
        self._store, self._ledger, self._approvals, self._clock = store, ledger, approvals, clock

    async def record(self, tx: AsyncConnection, edited: PlanEdited, plan: Plan) -> None:
        """Raises ConflictError if the approval no longer waits, or its incident had too many edits."""
        incident = IncidentId(edited.incident)
        if not await self._approvals.supersede(tx, edited.approval, edited.by, edited.comment):
            raise ConflictError(
                f"{edited.approval} no longer waits: its plan cannot be edited",
                cause="it was used, or it was answered or ended meanwhile",
                next_step=f"watchkeeper ledger show {incident}",
            )
        made = select(func.count()).select_from(plan_edit).where(plan_edit.c.incident == incident)
        if int((await tx.execute(made)).scalar_one()) >= MAX_EDITS:
            raise ConflictError(
                f"the plan of {incident} was edited {MAX_EDITS} times already",
                cause="edits of one incident are bounded",
                next_step=f"watchkeeper approve or reject {edited.approval}",
            )
        row = {"approval": edited.approval, "incident": incident, "plan": canonical_model(plan)}
        await tx.execute(insert(plan_edit).values(**row, at=self._clock.now()))
        await self._ledger.append(tx, Draft(type=EntryType.PLAN_EDITED, subject=incident, data=edited))

    async def of(self, approval: ApprovalId) -> Plan | None:
        """The plan that took the place of the one which this approval asked about; None if nobody edited it."""
        query = select(plan_edit.c.plan).where(plan_edit.c.approval == approval)
        async with self._store.read() as tx:
            body = (await tx.execute(query)).scalar_one_or_none()
        return None if body is None else Plan.model_validate_json(body)
