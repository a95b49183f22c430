"""The right to send one effect, and the epochs that take it away."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from watchkeeper.core.actions import Action
from watchkeeper.core.ids import ActionKey, ApprovalId, ClaimId, DecisionId, IncidentId, OrderId, PlanId
from watchkeeper.core.model import Contract, Instant
from watchkeeper.core.plans import Plan


class EffectPhase(StrEnum):
    APPLY = "apply"
    RELEASE = "release"
    UNDO = "undo"


class EpochSeen(Contract):
    """The epoch of one authority scope (`all`, `environment:prod`, `service:prod/chat`, `agent:...`, `action:...`,
    `target:...`) when the decision was made. A claim under an older epoch is refused (invariant 2)."""

    scope: str
    epoch: int


class Claim(Contract):
    schema_name = "watchkeeper.dev/claim/v1"
    id: ClaimId
    key: ActionKey
    incident: IncidentId
    plan: PlanId
    plan_hash: str
    step: int
    phase: EffectPhase
    decision: DecisionId
    approval: ApprovalId | None
    policy_version: str
    epochs: tuple[EpochSeen, ...]
    holder: str
    fence: int = Field(ge=1)
    taken: Instant
    order: OrderId | None = None
    """The person's order that an undo obeys."""
    not_after: Instant
    """The effect is not sent later than this; at most 10 s after `taken`."""


MAX_CLAIM_S = 10.0


def authority_scopes(plan: Plan, action: Action) -> tuple[str, ...]:
    """Every scope whose stop must halt this action of the plan; sorted, so that locks are taken in one order. What
    rests on the work of an agent whose authority was taken away is not done either."""
    return tuple(
        sorted(
            {
                "all",
                f"environment:{plan.scope.environment}",
                f"service:{plan.scope}",
                *(f"agent:{agent}" for agent in plan.agents),
                f"action:{plan.runbook.name}/{action.intent}",
                f"target:{action.target}",
            }
        )
    )
