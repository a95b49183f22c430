"""An approval as a person needs it to say yes or no: what will change, how far it reaches, the way back, and the walk
that led to the question. It is put together from recorded steps and decides nothing."""

from __future__ import annotations

from sqlalchemy import or_, select

from watchkeeper.agents.records import Decided, Proposed
from watchkeeper.agents.tables import incident_step
from watchkeeper.core.actions import FieldChange, Intent, Target
from watchkeeper.core.consents import ApprovalAnswered, ApprovalEscalated, ApprovalRequested
from watchkeeper.core.decisions import ApprovalTerms, DecisionRecord
from watchkeeper.core.errors import NotFoundError
from watchkeeper.core.ids import ApprovalId, IncidentId
from watchkeeper.core.model import Contract, Instant
from watchkeeper.core.plans import Plan
from watchkeeper.policies.approval.approvals import Approval, ApprovalState
from watchkeeper.policies.messages import Messages, RuleMessage
from watchkeeper.store.engine import Store


class Step(Contract):
    """One action: its fields before → after, `count` of `population` things touched, and the fields of the undo."""

    step: int
    intent: Intent
    target: Target
    changes: tuple[FieldChange, ...]
    count: int
    population: int
    way_back: tuple[FieldChange, ...]


class ApprovalView(Contract):
    id: ApprovalId
    incident: IncidentId
    state: ApprovalState
    expires: Instant
    plan_hash: str
    steps: tuple[Step, ...]
    plan: Plan
    decision: DecisionRecord
    terms: tuple[ApprovalTerms, ...]
    answers: tuple[ApprovalAnswered, ...]
    reached: tuple[ApprovalEscalated, ...] = ()
    """The steps of the escalation that were due: these roles may answer too."""
    messages: tuple[RuleMessage, ...] = ()
    """What the policy's rules that were not true tell people."""


async def view(store: Store, approval: Approval, messages: Messages) -> ApprovalView:
    """Raises NotFoundError when the steps that the request names are no longer kept."""
    request = approval.request
    plan, decision = await _recorded(store, request)
    return ApprovalView(
        id=request.approval,
        incident=request.incident,
        state=approval.state,
        expires=request.expires,
        plan_hash=request.plan_hash,
        steps=_steps(plan, decision),
        plan=plan,
        decision=decision,
        terms=request.terms,
        answers=approval.answers,
        reached=approval.reached,
        messages=await messages.of(decision.decision),
    )


async def _recorded(store: Store, request: ApprovalRequested) -> tuple[Plan, DecisionRecord]:
    step = incident_step.c.step
    query = select(step, incident_step.c.result).where(
        incident_step.c.incident == request.incident, or_(step.like("propose/%"), step.like("decide/%"))
    )
    plan: Plan | None = None
    decision: DecisionRecord | None = None
    async with store.read() as tx:
        rows = (await tx.execute(query)).all()
    for row in rows:
        if row.step.startswith("propose/"):
            made = Proposed.model_validate_json(row.result).plan
            plan = made if made is not None and made.plan_hash == request.plan_hash else plan
        else:
            record = Decided.model_validate_json(row.result).record
            decision = record if record.id == request.decision else decision
    if plan is None or decision is None:
        raise NotFoundError(
            f"the plan or the decision behind {request.approval} is no longer kept",
            cause="its incident was closed more than a day ago: the ledger has the story",
            next_step=f"watchkeeper ledger show {request.incident}",
        )
    return plan, decision


def _steps(plan: Plan, decision: DecisionRecord) -> tuple[Step, ...]:
    reach = {request.step: (request.blast_count, request.blast_population) for request in decision.input.requests}
    return tuple(
        Step(
            step=action.step,
            intent=action.intent,
            target=action.target,
            changes=change.fields,
            count=reach.get(action.step, (1, 1))[0],
            population=reach.get(action.step, (1, 1))[1],
            way_back=change.inverse().fields,
        )
        for action, change in zip(plan.actions, plan.changes, strict=True)
    )
