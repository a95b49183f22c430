"""What came of it: the effect, and the service level afterwards. Unknown and inconclusive are answers of their own."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from watchkeeper.core.actions import Intent, Target
from watchkeeper.core.ids import ActionKey, ClaimId, IncidentId, PlanId
from watchkeeper.core.model import Contract, Instant
from watchkeeper.core.sli import SliReading


class Effect(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Recovery(StrEnum):
    RECOVERED = "recovered"
    NOT_RECOVERED = "not_recovered"
    INCONCLUSIVE = "inconclusive"
    MOOT = "moot"


class EffectOutcome(Contract):
    """`code` is an enumerated detail (`http_200`, `timeout`, `observed`, `refused_by_target`)."""

    schema_name = "watchkeeper.dev/effect-outcome/v1"
    claim: ClaimId
    key: ActionKey
    fence: int
    effect: Effect
    code: str
    at: Instant


class Stays(StrEnum):
    """Why what a plan did could not be undone."""

    NO_WAY_BACK = "no_way_back"
    """Restarted, deleted, terminated: there is nothing to restore."""
    CHANGED = "changed"
    """Somebody else's value since: not touched."""
    REFUSED = "refused"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """Whether it happened, or was undone, is not known."""


class NotUndone(Contract):
    """A step that stays. `said`: the action's kind, the claim's refusal, or the adapter's code."""

    step: int = Field(ge=0)
    intent: Intent
    target: Target
    why: Stays
    said: str = ""


class Outcome(Contract):
    """The verified end of a plan's execution."""

    schema_name = "watchkeeper.dev/outcome/v1"
    incident: IncidentId
    plan: PlanId
    recovery: Recovery
    horizon_s: float
    sli: SliReading | None
    guards: tuple[SliReading, ...] = ()
    unrestored: tuple[int, ...] = ()
    """Steps that restart something which has not come back, or which did not say whether it has."""
    at: Instant
