"""`PolicyTest` documents: what is asked, and what a policy has to say to it.

They lie beside the policy they test and are no part of it: they grant nothing, and a version does not contain them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from watchkeeper.core.actions import ActionKind, Intent
from watchkeeper.core.decisions import Autonomy, Reason, Verdict
from watchkeeper.core.findings import FailureMode, Severity
from watchkeeper.core.manifest import Manifest, Name, Section, WholeSeconds
from watchkeeper.core.phases import Phase
from watchkeeper.policies.conditions.when import Moment
from watchkeeper.policies.model import Signs, Word


class Given(Section):
    """One action of one plan, and everything that a decision is told about it. What is not written stands in nobody's
    way: the cause is sure, the way back captured, the agent trusted and promoted, and nothing else goes on."""

    environment: Word = "production"
    """The environment of the incident's scope."""
    service: Word = "service"
    """The service of the incident's scope."""
    phase: Phase | None = None
    """Of the service's rollout; not written: it is not known."""
    agent: Word = "remediator/litellm"
    """The remediator that asks."""
    runbook: Word = "runbook"
    """The runbook by its name."""
    intent: Intent = Intent.THROTTLE
    """What is done to the target."""
    kind: ActionKind = ActionKind.REVERSIBLE
    """Whether there is a way back."""
    adapter: Word = "litellm:main"
    """Whose target it is."""
    target_kind: Word = "key"
    """The adapter's word for what the target is."""
    target_id: Word = "target"
    """The target by its name."""
    target_labels: dict[Word, Word] = Field(default_factory=dict)
    """Labels of the target."""
    at: Moment = datetime(2026, 1, 7, 12, tzinfo=UTC)
    """When it is asked."""
    mode: FailureMode = FailureMode.COST_SPIKE
    """The failure mode of the incident."""
    severity: Severity = Severity.CRITICAL
    """The severity of the incident."""
    confidence: float = Field(default=1.0, ge=0, le=1)
    """Of the diagnosis."""
    novel: bool = False
    """The cause is not one that is known."""
    edge_proven: bool = True
    """The edge from the symptom to the target is proven."""
    signs: Signs = ()
    """The evidence."""
    blast_count: int = Field(default=1, ge=1)
    """How many things are touched."""
    blast_population: int = Field(default=1_000_000, ge=1)
    """How many such things there are."""
    undo_captured: bool = True
    """The state before is known field by field."""
    protected: bool = False
    """The target is one that no policy can open."""
    foreign_owner: bool = False
    """Another controller owns the field."""
    conflict: bool = False
    """Another remedy holds a field of the target."""
    recent_effects: int = Field(default=0, ge=0)
    """Of the runbook in the scope, in every window of a rate."""
    since_last: WholeSeconds | None = None
    """Since the last effect on the target; not written: there was none."""
    running_on_target: int = Field(default=0, ge=0)
    """Other plans that act on the target or hold something of it."""
    running_fleet: int = Field(default=0, ge=0)
    """Other plans that act or hold something."""
    trust: float | None = Field(default=1.0, ge=0, le=1)
    """The lower bound of the agent's trust; `null`: none is kept."""
    ceiling: Autonomy = Autonomy.FULL
    """How far people let the agent go."""
    promoted: Autonomy | None = Autonomy.FULL
    """How far it was promoted; `null`: it was not."""
    over_budget: bool = False
    """The agent has used up what it was given."""
    horizons: int = Field(default=100, ge=0)
    """How often the plan looks whether it helped; 0: no verification is declared."""
    last_horizon: WholeSeconds = 86_400
    """How long after the effect it looks last."""
    guards: int = Field(default=100, ge=0)
    """Guard SLIs that the plan declares."""
    budget_remaining: float | None = 1.0
    """Of every objective that the policy asks for."""
    burn_rate: float | None = Field(default=1.0, ge=0)
    """In every window; `null`: none was read."""

    def over(self, base: Given) -> Given:
        """What is written here, and what is written in `base` for the rest."""
        return base.model_copy(update={name: getattr(self, name) for name in self.model_fields_set})


class Expected(Section):
    """What the policy has to say."""

    verdict: Verdict
    """How far the request may go."""
    reasons: tuple[Reason, ...] | None = None
    """Of the gates that narrow, all of them and no other; not written: they are not looked at."""


class TestCase(Section):
    """One request and the answer to it."""

    __test__ = False  # for pytest: no test of ours

    name: Name
    """Unique within the document."""
    given: Given = Given()
    """What is asked, where it is not as the document's own `given`."""
    expect: Expected
    """What the policy has to say."""


def _apart(cases: tuple[TestCase, ...]) -> tuple[TestCase, ...]:
    names = [case.name for case in cases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two cases are named {twice[0]!r}")
    return cases


class TestSpec(Section):
    """What is asked, and what the policy has to say."""

    __test__ = False

    given: Given = Given()
    """Holds for every case that does not say otherwise."""
    cases: Annotated[tuple[TestCase, ...], Field(min_length=1, max_length=1000), AfterValidator(_apart)]
    """What is asked, one by one."""


class PolicyTest(Manifest):
    """What a policy is expected to say. It lies beside the policy and grants nothing."""

    kind: Literal["PolicyTest"]
    """What the document is."""
    spec: TestSpec
    """What it says."""

    @model_validator(mode="after")
    def _told(self) -> Self:
        """Every case whole, so that who runs it need not know of the base."""
        whole = tuple(case.model_copy(update={"given": case.given.over(self.spec.given)}) for case in self.spec.cases)
        return self.model_copy(update={"spec": self.spec.model_copy(update={"cases": whole})})
