"""The decision: a pure, total function of a policy and an input (invariants 6 and 8).

Every request of the plan is weighed by itself against the meet of the documents that match it; the plan gets the
narrowest verdict of all. It reads nothing else, raises for no input that the contract admits, and does not permit an
effect: the claim does.
"""

from __future__ import annotations

from watchkeeper.core.decisions import (
    ActionRequest,
    Autonomy,
    Decision,
    DecisionInput,
    Gate,
    GateResult,
    Reason,
    Verdict,
)
from watchkeeper.core.digest import digest_of
from watchkeeper.policies.compile import Policy
from watchkeeper.policies.gates import CORE, Answer, Case, ask
from watchkeeper.policies.terms import Key, Term, approvals_of, meet

WIDTH = {Verdict.DENY: 0, Verdict.SHADOW: 1, Verdict.REQUIRE_APPROVAL: 2, Verdict.ALLOW: 3}
_ORDER = {gate: position for position, gate in enumerate(Gate)}


def decide(policy: Policy, given: DecisionInput) -> Decision:
    """The same policy and input give the same bytes, whatever the order of the policy's documents."""
    cases = [_case(policy, given, request) for request in given.requests]
    answers = [answer for case in cases for answer in ask(case)] or [_nothing_asked()]
    answers.sort(key=lambda answer: _ORDER[answer.result.gate])
    together = meet(case.terms for case in cases)
    ttl = together.get(Key(Term.TTL))
    return Decision(
        verdict=min((answer.at_most for answer in answers), key=WIDTH.__getitem__),
        autonomy=min((case.autonomy for case in cases), key=lambda autonomy: autonomy.rank, default=Autonomy.NONE),
        policy_version=policy.version,
        input_digest=digest_of(given),
        walk=tuple(answer.result for answer in answers),
        approvals=approvals_of(together),
        remedy_ttl_s=None if ttl is None else int(ttl.tightness),
    )


def _case(policy: Policy, given: DecisionInput, request: ActionRequest) -> Case:
    """Without a Grant there is nothing to narrow: the terms stay empty, and so does the autonomy."""
    matching = policy.matching(given, request)
    grants = tuple(node for node in matching if node.grants)
    limits = tuple(node for node in matching if not node.grants)
    return Case(given, request, grants, limits, meet(node.terms for node in matching) if grants else {})


def _nothing_asked() -> Answer:
    """A plan without a request has no Grant that matches it."""
    return Answer(GateResult(gate=Gate.GRANT, node=CORE, passed=False, reason=Reason.NO_GRANT), Verdict.DENY)
