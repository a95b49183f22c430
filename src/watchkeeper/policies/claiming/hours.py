"""Windows and freezes, asked again in the transaction that claims: people may answer hours after the decision.

A plan is asked once, before anything of it has begun; then it is not left half done. A first claim that was left behind
has not begun. It reads the rules of time zones as they are now.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.decisions import DecisionRecord, Gate
from watchkeeper.core.ids import ActionKey
from watchkeeper.core.plans import Plan
from watchkeeper.policies.compile import Policy
from watchkeeper.policies.conditions.when import offsets_at
from watchkeeper.policies.decide import against_now
from watchkeeper.policies.gates.answers import Answer
from watchkeeper.policies.rows import claimed
from watchkeeper.policies.terms import Term, bits

_TIMED = bits((Term.WINDOWS, Term.FREEZE))
_GATES = (Gate.WINDOW, Gate.FREEZE)


async def closed_since(
    tx: AsyncConnection, policy: Policy, plan: Plan, record: DecisionRecord, key: ActionKey, now: datetime
) -> Answer | None:
    """What the time of day or a freeze says against it now, if that leaves less than was decided; None: nothing."""
    given = record.input
    if not any(met.bounded & _TIMED for met in policy.met(given)) or await claimed(tx, plan.id, besides=key):
        return None
    as_of_now = given.model_copy(update={"at": now, "offsets": offsets_at(policy.zones, now)})
    return against_now(policy, as_of_now, record.decision, _GATES)
