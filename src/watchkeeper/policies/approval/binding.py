"""An approval at the claim: it binds one plan, once, in time (invariant 3).

The row says which approval it is and whether it is used. That people gave it is read from the ledger, in the claim's
transaction: a row that was written or changed beside the ledger counts for nothing. Entries are believed as they stand
in the database; that nobody changed them there is for `verify` and `fsck`.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.consents import ApprovalAnswer, ApprovalAnswered, ApprovalEscalated, ApprovalRequested
from watchkeeper.core.entries import EntryType
from watchkeeper.core.errors import RefusedError
from watchkeeper.core.ids import ActionKey, ApprovalId, IncidentId
from watchkeeper.core.plans import Plan
from watchkeeper.ledger.recorded import recorded
from watchkeeper.policies import rows
from watchkeeper.policies.approval.quorum import standing
from watchkeeper.policies.tables import approval

_KINDS = (EntryType.APPROVAL_REQUESTED, EntryType.APPROVAL_ESCALATED, EntryType.APPROVAL_ANSWERED)


async def use(tx: AsyncConnection, approval_id: ApprovalId | None, plan: Plan, key: ActionKey, now: datetime) -> None:
    """In the transaction that claims `key`: binds the approval to this plan, or refuses by name.

    Once a plan has begun its approval covers all of it, giving back included. One whose first claim was left behind has
    not begun: who takes that claim over must come in time too."""
    row = None
    if approval_id is not None:
        query = select(approval).where(approval.c.id == approval_id).with_for_update()
        row = (await tx.execute(query)).one_or_none()
    if row is None:
        raise _refused("the plan needs an approval and has none", "approval_missing")
    if row.plan_hash != plan.plan_hash:
        raise _refused(f"{row.id} approves another plan", "approval_other_plan")
    if row.state != ApprovalAnswer.APPROVED:
        raise _refused(f"{row.id} is {row.state}", "approval_not_given")
    asked = await _given(tx, row, plan)
    if row.used_by not in (None, plan.id):
        raise _refused(f"{row.id} is used up", "approval_used")
    if min(asked.expires, row.expires) <= now and not await rows.claimed(tx, plan.id, besides=key):
        raise _refused(f"{row.id} has expired", "approval_expired")
    if row.used_by is None:
        await tx.execute(update(approval).where(approval.c.id == row.id).values(used_by=plan.id, used_at=now))


async def _given(tx: AsyncConnection, row: Row[tuple[object, ...]], plan: Plan) -> ApprovalRequested:
    """The request as the ledger has it, if people approved it by what the ledger has too."""
    found = [
        data
        for data in await recorded(tx, IncidentId(plan.incident), _KINDS)
        if isinstance(data, ApprovalRequested | ApprovalEscalated | ApprovalAnswered)
        and data.approval == row.id
        and data.plan_hash == plan.plan_hash
    ]
    asked = [data for data in found if isinstance(data, ApprovalRequested)]
    reached = [data for data in found if isinstance(data, ApprovalEscalated)]
    answers = [data for data in found if isinstance(data, ApprovalAnswered)]
    if len(asked) != 1 or standing(asked[0], reached, answers) is not ApprovalAnswer.APPROVED:
        raise _refused(f"the ledger does not say that people approved {row.id}", "approval_unrecorded")
    return asked[0]


def _refused(what: str, reason: str) -> RefusedError:
    return RefusedError(
        what, reason=reason, cause="an approval binds one plan, once, in time", next_step="watchkeeper approve"
    )
