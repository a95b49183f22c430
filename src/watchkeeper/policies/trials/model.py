"""`PolicyTest` documents: what is asked, and what a policy has to say to it.

They lie beside the policy they test and are no part of it: they grant nothing, and a version does not contain them.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from watchkeeper.core.actions import ActionKind, Intent
from watchkeeper.core.decisions import Autonomy, Reason, Verdict
from watchkeeper.core.findings import FailureMode, Severity
from watchkeeper.core.manifest import Manifest, Name, Section, WholeSeconds
from watchkeeper.policies.conditions.when import Moment
from watchkeeper.policies.model import Signs, Word


class Given(Section):
    """One action of one plan, and everything that a decision is told about it. What is not written stands in nobody's
    way: the cause is sure, the way back captured, the agent trusted and promoted, and nothing else goes on."""

    environment: Word = "production"
    service: Word = "service"
    agent: Word = "remediator/litellm"
    runbook: Word = "runbook"
    intent: Intent = Intent.THROTTLE
    kind: ActionKind = ActionKind.REVERSIBLE
    adapter: Word = "litellm:main"
    target_kind: Word = "key"
    target_id: Word = "target"
    target_labels: dict[Word, Word] = Field(default_factory=dict)
    at: Moment = Field(default="2026-01-07T12:00:00Z", validate_default=True)
    mode: FailureMode = FailureMode.COST_SPIKE
    severity: Severity = Severity.CRITICAL
    confidence: float = Field(default=1.0, ge=0, le=1)
    novel: bool = False
    edge_proven: bool = True
    signs: Signs = ()
    blast_count: int = Field(default=1, ge=1)
    blast_population: int = Field(default=1_000_000, ge=1)
    undo_captured: bool = True
    protected: bool = False
    foreign_owner: bool = False
    conflict: bool = False
    """Another remedy holds a field of the target."""
    recent_effects: int = Field(default=0, ge=0)
    """Of the runbook in the scope, in every window of a rate."""
    since_last: WholeSeconds | None = None
    """Since the last effect on the target; not written: there was none."""
    running_on_target: int = Field(default=0, ge=0)
    running_fleet: int = Field(default=0, ge=0)
    trust: float | None = Field(default=1.0, ge=0, le=1)
    ceiling: Autonomy = Autonomy.FULL
    promoted: Autonomy | None = Autonomy.FULL
    over_budget: bool = False
    horizons: int = Field(default=100, ge=0)
    last_horizon: WholeSeconds = Field(default="1d", validate_default=True)
    guards: int = Field(default=100, ge=0)
    budget_remaining: float | None = 1.0
    """Of every objective that the policy asks for."""
    burn_rate: float | None = Field(default=1.0, ge=0)
    """In every window; `null`: none was read."""

    def over(self, base: Given) -> Given:
        """What is written here, and what is written in `base` for the rest."""
        return base.model_copy(update={name: getattr(self, name) for name in self.model_fields_set})


class Expected(Section):
    """`reasons`: of the gates that narrow, all of them and no other; not written: they are not looked at."""

    verdict: Verdict
    reasons: tuple[Reason, ...] | None = None


class TestCase(Section):
    __test__ = False  # for pytest: no test of ours

    name: Name
    given: Given = Given()
    expect: Expected


def _apart(cases: tuple[TestCase, ...]) -> tuple[TestCase, ...]:
    names = [case.name for case in cases]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two cases are named {twice[0]!r}")
    return cases


class TestSpec(Section):
    """`given` holds for every case that does not say otherwise."""

    __test__ = False

    given: Given = Given()
    cases: Annotated[tuple[TestCase, ...], Field(min_length=1, max_length=1000), AfterValidator(_apart)]


class PolicyTest(Manifest):
    kind: Literal["PolicyTest"]
    spec: TestSpec

    @model_validator(mode="after")
    def _told(self) -> Self:
        """Every case whole, so that who runs it need not know of the base."""
        whole = tuple(case.model_copy(update={"given": case.given.over(self.spec.given)}) for case in self.spec.cases)
        return self.model_copy(update={"spec": self.spec.model_copy(update={"cases": whole})})
