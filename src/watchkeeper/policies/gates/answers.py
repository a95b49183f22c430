"""One request with what the documents come to, and how a gate answers about it."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from watchkeeper.core.decisions import ActionRequest, Autonomy, DecisionInput, Gate, Reason, Verdict
from watchkeeper.policies.meets import Meet
from watchkeeper.policies.model import FailurePolicy
from watchkeeper.policies.terms import Bound, Key, Term

CORE = "core"

WIDTH = {Verdict.DENY: 0, Verdict.SHADOW: 1, Verdict.REQUIRE_APPROVAL: 2, Verdict.ALLOW: 3}


def narrower(one: Verdict, other: Verdict) -> Verdict:
    return one if WIDTH[one] <= WIDTH[other] else other


ON_FAILURE = {FailurePolicy.DENY: Verdict.DENY, FailurePolicy.REQUIRE_APPROVAL: Verdict.REQUIRE_APPROVAL}


class Answer(NamedTuple):
    """One step of the walk, field by field as `GateResult` has it. `at_most`: the widest verdict that is left."""

    gate: Gate
    node: str
    passed: bool
    reason: Reason
    step: int | None
    observed: float | str | None
    limit: float | str | None
    at_most: Verdict


Answers = tuple[Answer, ...]
NOTHING: Answers = ()
"""Nothing against the request."""


@lru_cache(maxsize=65_536)
def passing(gate: Gate, node: str, step: int) -> Answer:
    """The commonest answer by far, and always the same one."""
    return Answer(gate, node, True, Reason.PASSED, step, None, None, Verdict.ALLOW)


class Case(NamedTuple):
    """One request of a decision with what the documents that match it come to. `autonomy` is what policy and people
    leave to the agent."""

    given: DecisionInput
    request: ActionRequest
    met: Meet
    autonomy: Autonomy

    def bounds(self, term: Term) -> tuple[tuple[Key, Bound], ...]:
        return self.met.bounds.get(term, ())

    def passed(self, gate: Gate, node: str, observed: float | str | None = None) -> Answer:
        return Answer(gate, node, True, Reason.PASSED, self.request.step, observed, None, Verdict.ALLOW)

    def failed(
        self,
        gate: Gate,
        reason: Reason,
        at_most: Verdict,
        node: str = CORE,
        observed: float | str | None = None,
        limit: float | str | None = None,
    ) -> Answer:
        return Answer(gate, node, False, reason, self.request.step, observed, limit, at_most)

    def unless(self, bad: bool, gate: Gate, reason: Reason, at_most: Verdict = Verdict.REQUIRE_APPROVAL) -> Answers:
        """A built-in gate: no document can change what it asks."""
        return (self.failed(gate, reason, at_most),) if bad else NOTHING
