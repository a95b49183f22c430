"""Runbooks: when one applies, what it does, and what success, hold, release and undo mean for it.

Every number is a literal or drawn from evidence by a source that code offers; there is no free text, no command and no
code in a runbook (invariant 7). Whether a runbook may be carried out is policy's question.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from watchkeeper.core.actions import Intent
from watchkeeper.core.digest import sha256
from watchkeeper.core.findings import FailureMode, Sign
from watchkeeper.core.manifest import Manifest, Seconds, Section
from watchkeeper.core.plans import RunbookRef
from watchkeeper.core.sli import SERIES, Comparison, Measure, SeriesMeasure, SubjectSet
from watchkeeper.core.subjects import SubjectKind


class Source(StrEnum):
    """Where a number (or, for fallbacks, a list of declared names) may come from.

    A baseline is that of the subject in question: an action's target, or the subject of a service level."""

    BASELINE_CALLS = "baseline.calls_per_min"
    BASELINE_SERVED = "baseline.served_per_min"
    BASELINE_TOKENS = "baseline.tokens_per_min"
    BASELINE_COST = "baseline.cost_usd_per_min"
    BASELINE_SUCCESS = "baseline.success_ratio"
    BASELINE_LATENCY = "baseline.latency_p95_s"
    KEY_SPEND = "key.spend_usd"
    CAUSE_WEIGHT = "cause.weight"
    GROUP_FALLBACKS = "group.fallbacks"

    @property
    def measure(self) -> Measure | None:
        head, _, name = self.value.partition(".")
        return Measure(name) if head == "baseline" else None


class Round(StrEnum):
    UP = "up"
    DOWN = "down"


class Term(Section):
    """`value`, or `from` a source `times` a factor."""

    value: float | bool | None = None
    source: Annotated[Source | None, Field(alias="from")] = None
    times: float = Field(default=1.0, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _one_origin(self) -> Term:
        if (self.value is None) == (self.source is None):
            raise ValueError("give either `value` or `from`")
        return self


class Expression(Term):
    """A term, `plus` another, kept between `min` and `max`, then rounded.

    `optional`: where a fact is missing, the parameter is left out; an action with none left is left out too."""

    plus: Term | None = None
    min: float | None = Field(default=None, allow_inf_nan=False)
    max: float | None = Field(default=None, allow_inf_nan=False)
    round: Round | None = None
    optional: bool = False


TargetKind = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
"""An adapter's word for what can be acted on; which there are, the lint is told."""


CAUSE_KIND = "cause"
"""The kind of whatever the cause is, one of the trigger's `targets`."""


class GatewayKind(StrEnum):
    """What of a gateway can be acted on. Other kinds are of the infrastructure: there the cause names the target."""

    KEY = "key"
    DEPLOYMENT = "deployment"
    MODEL_GROUP = "model_group"

    @property
    def subject_kind(self) -> SubjectKind:
        return _SUBJECTS[self]


_SUBJECTS = {
    GatewayKind.KEY: SubjectKind.KEY,
    GatewayKind.DEPLOYMENT: SubjectKind.DEPLOYMENT,
    GatewayKind.MODEL_GROUP: SubjectKind.MODEL,
}


class Select(StrEnum):
    """`cause`: what the cause is, or leads to by its edges. `standby`: the healthy deployments beside it."""

    CAUSE = "cause"
    STANDBY = "standby"


class Condition(StrEnum):
    """When an action is part of the plan."""

    ALWAYS = "always"
    HEALTHY_SIBLING = "healthy_sibling"
    """The cause's model group has another deployment that works, and both can be managed or nothing else stands in."""
    STANDBY_IDLE = "standby_idle"
    """As above, and none of those that work has any weight yet."""
    NO_HEALTHY_SIBLING = "no_healthy_sibling"


class TargetSpec(Section):
    kind: TargetKind
    select: Select = Select.CAUSE


class ActionSpec(Section):
    intent: Intent
    when: Condition = Condition.ALWAYS
    target: TargetSpec
    parameters: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")], Expression] = Field(default_factory=dict)


class SubjectRef(StrEnum):
    """`target`: the first action's target. `model_group`: the group that the cause belongs to. `service`: that of the
    incident."""

    CAUSE = "cause"
    TARGET = "target"
    MODEL_GROUP = "model_group"
    SERVICE = "service"


class SliSpec(Section):
    """`measure`: one that is counted from calls, or `series:NAME`, a Prometheus query of the settings."""

    measure: Measure | SeriesMeasure
    subject: SubjectRef
    over: SubjectSet = SubjectSet.ONE
    op: Comparison
    threshold: Expression
    window: Seconds = Field(gt=0)
    min_events: int = Field(default=1, ge=0)

    @property
    def series(self) -> str:
        """The query's name; empty for a measure of calls."""
        return self.measure.removeprefix(SERIES) if self.measure.startswith(SERIES) else ""


class VerificationSpec(Section):
    """`horizons`: when to read after the effect; the last one decides."""

    sli: SliSpec
    guards: tuple[SliSpec, ...] = ()
    horizons: tuple[Seconds, ...] = Field(min_length=1)


class ReleaseSpec(Section):
    """`steps`: how much is given back, 0 to 1, watching for `watch` after each."""

    steps: tuple[float, ...] = Field(min_length=1)
    watch: Seconds
    max_relapses: int = Field(default=3, ge=0, le=10)


class Trigger(Section):
    """All that is given must fit one cause of the diagnosis; of `signs`, one is enough. `targets`: the kinds that the
    cause may be of, where it is a target of the infrastructure."""

    modes: tuple[FailureMode, ...] = Field(min_length=1)
    subjects: tuple[SubjectKind, ...] = Field(min_length=1)
    targets: tuple[TargetKind, ...] = ()
    min_confidence: float = Field(default=0.0, ge=0, le=1)
    signs: tuple[Sign, ...] = ()


class RunbookSpec(Section):
    """`breach`: what must still be breached when the effect is claimed; the verified service level if not given."""

    trigger: Trigger
    actions: tuple[ActionSpec, ...] = Field(min_length=1, max_length=16)
    verification: VerificationSpec
    breach: SliSpec | None = None
    hold: Seconds
    release: ReleaseSpec | None = None
    undo: Literal["captured", "none"]
    """`none`: no action has a way back; what it restarts must come back, what it removes stays removed."""
    ttl: Seconds = Field(gt=0)


class Runbook(Manifest):
    kind: Literal["Runbook"]
    spec: RunbookSpec

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def ref(self) -> RunbookRef:
        """Named by content: another threshold is another runbook."""
        return RunbookRef(name=self.name, digest=sha256(self.body()))
