"""The input of a policy decision, put together: the plan, what we have done lately, what stands in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from watchkeeper.core.actions import Action, ActionKind, TargetState
from watchkeeper.core.decisions import ActionRequest, AgentStanding, DecisionInput, VerificationFacts
from watchkeeper.core.errors import AdapterError
from watchkeeper.core.plans import Plan
from watchkeeper.policies.compile import Policy
from watchkeeper.policies.conditions.when import offsets_at
from watchkeeper.policies.facts import TargetFacts

if TYPE_CHECKING:
    from watchkeeper.agents.crew import Crew


async def decision_input(crew: Crew, plan: Plan, policy: Policy) -> DecisionInput:
    """Everything `decide` may look at; the ledger keeps it whole, so that the decision can be made again."""
    now = crew.now()
    known = await crew.facts.of(plan, policy.rate_windows, now)
    requests = [
        _request(action, await _inspect(crew, action), facts, plan, crew.protected(str(action.target)))
        for action, facts in zip(plan.actions, known.targets, strict=True)
    ]
    return DecisionInput(
        incident=plan.incident,
        plan=plan.id,
        plan_hash=plan.plan_hash,
        runbook=plan.runbook.name,
        agent=plan.remediator,
        manifest_digest=plan.manifest_digest,
        scope=plan.scope,
        mode=plan.basis.mode,
        severity=plan.basis.severity,
        confidence=plan.basis.confidence,
        novel=plan.basis.novel,
        edge_proven=all(edge.known_from.proves for edge in plan.basis.edges),
        signs=plan.basis.signs,
        requests=tuple(requests),
        rates=known.rates,
        running_fleet=known.running_fleet,
        trust_lower_bound=await crew.trust.bound_of(plan),
        conflicts=known.conflicts,
        standing=AgentStanding(
            ceiling=await crew.promotions.ceiling_of(plan.agents),
            promoted=await crew.promotions.promoted_for(plan),
            over_budget=bool(await crew.usage.spent(plan.remediator)),
        ),
        verification=VerificationFacts(
            horizons=len(plan.verification.horizons_s),
            last_s=max(plan.verification.horizons_s, default=0.0),
            guards=len(plan.verification.guards),
        ),
        offsets=offsets_at(policy.zones, now),
        budgets=await crew.budgets.readings(plan.scope, policy.objectives, now),
        phase=known.phase,
        at=now,
    )


async def _inspect(crew: Crew, action: Action) -> TargetState | None:
    try:
        return await crew.adapters.get(action.target.adapter).inspect(action.target)
    except AdapterError:
        return None  # an unknown population counts as one: the action touches all there is


def _request(
    action: Action, state: TargetState | None, facts: TargetFacts, plan: Plan, protected: bool
) -> ActionRequest:
    change = plan.changes[action.step]
    fields = () if state is None else state.fields
    touched = {field.path for field in change.fields}
    return ActionRequest(
        step=action.step,
        intent=action.intent,
        kind=action.kind,
        target=action.target,
        blast_count=1,
        blast_population=1 if state is None else max(1, state.population),
        undo_captured=action.kind is ActionKind.REVERSIBLE and bool(change.fields),
        verification_declared=bool(plan.verification.horizons_s),
        protected=protected,
        foreign_owner=any(field.owner for field in fields if field.path in touched),
        seconds_since_last=facts.seconds_since_last,
        running_on_target=facts.running,
    )
