"""The rollout of one service: the phase it is in, and the words that move it.

A phase says how much of the policy counts for a service: documents name phases in `match`. It grants nothing by itself.
People move a service up, one phase at a time and on evidence; people and events move it down.
"""

from __future__ import annotations

from enum import StrEnum

from watchkeeper.core.claims import EpochSeen
from watchkeeper.core.evidence import EvidenceRef
from watchkeeper.core.ids import IncidentId, PlanId
from watchkeeper.core.model import Contract, Instant
from watchkeeper.core.phases import Phase
from watchkeeper.core.principals import Principal
from watchkeeper.core.subjects import Scope


class PhaseAsks(StrEnum):
    """What a phase may ask of the evidence. Each is met by `observed` ≥ `required`, but what must not have happened
    (rollbacks, unsafe outcomes, effects that are not known) by ≤."""

    DAYS_IN_PHASE = "days_in_phase"
    JUDGED = "judged"
    ACCURACY = "accuracy"
    ROLLBACKS = "rollbacks"
    UNSAFE = "unsafe"
    UNKNOWN_EFFECTS = "unknown_effects"
    ROUTINE_PAGES = "routine_pages"
    CLOSED_ALONE = "closed_alone"


class RolloutCriterion(Contract):
    """`observed` None: nothing is known of it, so it is not met."""

    name: PhaseAsks
    met: bool
    observed: float | None
    required: float


class RolloutAdvanced(Contract):
    """A person moved the service up; `evidence` is what was known then."""

    schema_name = "watchkeeper.dev/rollout-advanced/v1"
    scope: Scope
    phase: Phase
    previous: Phase
    by: Principal
    at: Instant
    reason: EvidenceRef
    evidence: tuple[RolloutCriterion, ...]


class WhySetBack(StrEnum):
    PERSON = "person"
    ROLLED_BACK = "rolled_back"
    UNSAFE = "unsafe"


class RolloutSetBack(Contract):
    """The service went down: by a person's word, or by what became of a plan."""

    schema_name = "watchkeeper.dev/rollout-set-back/v1"
    scope: Scope
    phase: Phase
    previous: Phase
    by: Principal
    at: Instant
    why: WhySetBack
    reason: EvidenceRef | None = None
    incident: IncidentId | None = None
    plan: PlanId | None = None
    epoch: EpochSeen
    """The service's scope as the move left it: no claim of before holds."""


class RolloutJudged(Contract):
    """A person's word on what was found and proposed for an incident: the only judge of what nobody carried out."""

    schema_name = "watchkeeper.dev/rollout-judged/v1"
    scope: Scope
    incident: IncidentId
    right: bool
    by: Principal
    reason: EvidenceRef
    at: Instant
