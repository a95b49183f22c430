"""Asks a policy what its tests ask. Pure, but for reading the files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from watchkeeper.core import yamldoc
from watchkeeper.core.actions import Target
from watchkeeper.core.decisions import (
    ActionRequest,
    AgentStanding,
    BudgetReading,
    Burn,
    Decision,
    DecisionInput,
    RateCount,
    Reason,
    Verdict,
    VerificationFacts,
)
from watchkeeper.core.errors import PolicyError
from watchkeeper.core.ids import IncidentId, PlanId, RemedyId
from watchkeeper.core.subjects import Scope
from watchkeeper.policies.compile import Policy
from watchkeeper.policies.conditions.when import offsets_at
from watchkeeper.policies.decide import decide
from watchkeeper.policies.load import TESTS, texts
from watchkeeper.policies.trials.model import Given, PolicyTest


class Trial(NamedTuple):
    """One case: `name` is `TEST/CASE`, `place` the file:line where it is written."""

    name: str
    place: str
    expected: Verdict
    reasons: frozenset[Reason] | None
    decision: Decision

    @property
    def said(self) -> frozenset[Reason]:
        return frozenset(each.reason for each in self.decision.blocking)

    @property
    def passed(self) -> bool:
        return self.decision.verdict is self.expected and self.reasons in (None, self.said)


class Written(NamedTuple):
    test: PolicyTest
    document: yamldoc.Document


def read(*paths: Path) -> list[Written]:
    """Every PolicyTest in the files and folders. Raises PolicyError with file:line."""
    return [
        Written(document.validate(PolicyTest, PolicyError), document)
        for name, text in texts(*paths)
        for document in yamldoc.parse(text, name, PolicyError)
        if document.kind == TESTS
    ]


def run(policy: Policy, tests: Iterable[Written]) -> list[Trial]:
    return [
        Trial(
            name=f"{test.metadata.name}/{case.name}",
            place=document.place(("spec", "cases", at)),
            expected=case.expect.verdict,
            reasons=None if case.expect.reasons is None else frozenset(case.expect.reasons),
            decision=decide(policy, asked(case.given, policy)),
        )
        for test, document in tests
        for at, case in enumerate(test.spec.cases)
    ]


def asked(given: Given, policy: Policy) -> DecisionInput:
    """The whole input of a decision about it, with all that the policy has to be told."""
    return DecisionInput(
        incident=IncidentId("inc_test"),
        plan=PlanId("pln_test"),
        plan_hash="sha256:test",
        runbook=given.runbook,
        agent=given.agent,
        manifest_digest="sha256:test",
        scope=Scope(environment=given.environment, service=given.service),
        mode=given.mode,
        severity=given.severity,
        confidence=given.confidence,
        novel=given.novel,
        edge_proven=given.edge_proven,
        signs=given.signs,
        requests=(_request(given),),
        rates=tuple(RateCount(window_s=window, count=given.recent_effects) for window in policy.rate_windows),
        running_fleet=given.running_fleet,
        trust_lower_bound=given.trust,
        conflicts=(RemedyId("rem_test"),) if given.conflict else (),
        standing=AgentStanding(ceiling=given.ceiling, promoted=given.promoted, over_budget=given.over_budget),
        verification=VerificationFacts(horizons=given.horizons, last_s=given.last_horizon, guards=given.guards),
        offsets=offsets_at(policy.zones, given.at),
        budgets=tuple(_budget(given, name, windows) for name, windows in policy.objectives.items()),
        phase=given.phase,
        at=given.at,
    )


def _request(given: Given) -> ActionRequest:
    labels = tuple(sorted(given.target_labels.items()))
    return ActionRequest(
        step=0,
        intent=given.intent,
        kind=given.kind,
        target=Target(adapter=given.adapter, kind=given.target_kind, id=given.target_id, labels=labels),
        blast_count=given.blast_count,
        blast_population=given.blast_population,
        undo_captured=given.undo_captured,
        verification_declared=given.horizons > 0,
        protected=given.protected,
        foreign_owner=given.foreign_owner,
        seconds_since_last=None if given.since_last is None else float(given.since_last),
        running_on_target=given.running_on_target,
    )


def _budget(given: Given, objective: str, windows: tuple[int, ...]) -> BudgetReading:
    rate = given.burn_rate
    burns = () if rate is None else tuple(Burn(window_s=window, rate=rate) for window in windows)
    return BudgetReading(objective=objective, remaining=given.budget_remaining, burns=burns)
