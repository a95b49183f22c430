"""decide and approve: what policy says, and, where it says so, what a person says.

Neither permits an effect: the claim reads policy, approval and all that counts again.
"""

from __future__ import annotations

from langgraph.types import interrupt
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.agents.graph import ordered
from watchkeeper.agents.incidents import Status
from watchkeeper.agents.records import Asked, Decided
from watchkeeper.agents.remediator.facts import decision_input
from watchkeeper.agents.state import WatchState
from watchkeeper.agents.watcher import Watcher, key
from watchkeeper.core.claims import authority_scopes
from watchkeeper.core.decisions import DecisionRecord, Verdict
from watchkeeper.core.entries import EntryType
from watchkeeper.core.ids import DecisionId, new_id
from watchkeeper.core.plans import Plan
from watchkeeper.policies.approval.approvals import ApprovalState, draft
from watchkeeper.policies.decide import decide as weigh


async def decide(watch: Watcher, state: WatchState) -> WatchState:
    plan = await watch.plan(state)

    async def ask_policy() -> Decided:
        scopes = {scope for action in plan.actions for scope in authority_scopes(plan, action)}
        epochs = await watch.crew.epochs.seen(tuple(sorted(scopes)))
        policy = await watch.crew.versions.active()
        given = await decision_input(watch.crew, plan, policy)
        record = DecisionRecord(
            id=DecisionId(new_id("dec", watch.crew.now())), input=given, decision=weigh(policy, given)
        )
        return Decided(record=record, epochs=epochs)

    async def write(tx: AsyncConnection, decided: Decided) -> None:
        await watch.append(tx, EntryType.DECISION, decided.record)

    decided = await watch.steps.once(key("decide", state), Decided, ask_policy, write)
    match decided.record.decision.verdict:
        case Verdict.ALLOW:
            return {"next": "execute", "extra": 0}
        case Verdict.REQUIRE_APPROVAL:
            return {"next": "approve"}
        case Verdict.SHADOW:
            return {"next": "escalate", "reason": "shadow_only"}
        case Verdict.DENY:
            blocking = decided.record.decision.blocking
            return {"next": "escalate", "reason": f"denied_{blocking[0].reason}" if blocking else "denied"}


async def approve(watch: Watcher, state: WatchState) -> WatchState:
    """Waits for people. The answer is read from the approval itself, never from what resumed us."""
    request = (await _ask(watch, state, await watch.plan(state))).request
    approval = await watch.crew.approvals.get(request.approval)
    if approval.state is ApprovalState.PENDING:
        undo = ordered(interrupt({"until": request.expires.isoformat(), "for": "approve"}))
        if undo is not None:
            return undo
        await watch.crew.approvals.expire_due()
        approval = await watch.crew.approvals.get(request.approval)
    match approval.state:
        case ApprovalState.APPROVED:
            return {"next": "execute", "extra": 0}
        case ApprovalState.REJECTED:
            return {"next": "escalate", "reason": "rejected_by_person"}
        case ApprovalState.EXPIRED:
            return {"next": "escalate", "reason": "approval_expired"}
        case ApprovalState.SUPERSEDED:  # a person edited the plan: theirs is proposed, decided and asked for anew
            attempt, edits = state.get("attempt", 0) + 1, state.get("edits", 0) + 1
            return {"next": "propose", "attempt": attempt, "edits": edits, "edited": request.approval}
        case ApprovalState.PENDING:
            return {"next": "approve"}


async def _ask(watch: Watcher, state: WatchState, plan: Plan) -> Asked:
    """Asks once per plan, in place of what still asks for an earlier one. A relapse re-applies inside the bounds that
    the first approval saw, and rides on it. People are told by `Summons`."""
    crew, decided = watch.crew, await watch.decided(state)

    async def look() -> Asked:
        earlier = await crew.approvals.replaceable(watch.incident)
        return Asked(request=draft(plan, decided.record, crew.now(), crew.timing.approval_ttl_s, earlier))

    async def write(tx: AsyncConnection, asked: Asked) -> None:
        await crew.approvals.request(tx, asked.request)
        await watch.status(tx, Status.AWAITING_APPROVAL)

    return await watch.steps.once(f"ask/{state.get('attempt', 0)}", Asked, look, write)
