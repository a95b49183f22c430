"""The decision: a pure, total function of a policy and an input (invariants 6 and 8).

Every request of the plan is weighed by itself against the meet of the documents that match it; the plan gets the
narrowest verdict of all. It reads nothing else, raises for no input that the contract admits, and does not permit an
effect: the claim does.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from functools import lru_cache, reduce
from itertools import chain
from typing import NamedTuple

from watchkeeper.core.decisions import Autonomy, Decision, DecisionInput, Gate, GateResult, Reason, Verdict
from watchkeeper.core.digest import digest_of
from watchkeeper.policies.compile import Policy
from watchkeeper.policies.gates.answers import CORE, WIDTH, Answer, narrower
from watchkeeper.policies.gates.builtin import autonomy_of
from watchkeeper.policies.gates.walk import ask
from watchkeeper.policies.meets import Whole, whole_of

_ORDER = {gate: position for position, gate in enumerate(Gate)}
_NOTHING_ASKED = Answer(Gate.GRANT, CORE, False, Reason.NO_GRANT, None, None, None, Verdict.DENY)
"""A plan without a request has no Grant that matches it."""


class Weighed(NamedTuple):
    """What the policy says, before anybody has put it in writing: `decide` as a contract, `written` as bytes."""

    verdict: Verdict
    walk: list[Answer]
    whole: Whole


def weigh(policy: Policy, given: DecisionInput) -> Weighed:
    """The same policy and input give the same answers, whatever the order of the policy's documents."""
    meets = policy.met(given)
    left = [autonomy_of(met, given.standing) for met in meets]
    walks = [
        ask(given, request, met, autonomy) for request, met, autonomy in zip(given.requests, meets, left, strict=True)
    ]
    match walks:
        case []:
            answers, verdict = [_NOTHING_ASKED], _NOTHING_ASKED.at_most
        case [(answers, verdict)]:
            pass
        case _:
            told = chain.from_iterable(walk.answers for walk in walks)
            answers = sorted(told, key=lambda answer: _ORDER[answer.gate])
            verdict = reduce(narrower, (walk.at_most for walk in walks))
    return Weighed(verdict, answers, _narrowed(whole_of(meets), left))


def _narrowed(whole: Whole, left: list[Autonomy]) -> Whole:
    """To what people and promotion leave of it."""
    for autonomy in left:
        if autonomy is not whole.autonomy and autonomy.rank < whole.autonomy.rank:
            whole = replace(whole, autonomy=autonomy)
    return whole


def against_now(policy: Policy, given: DecisionInput, decided: Decision, gates: Container[Gate]) -> Answer | None:
    """What one of these gates says against it as of now, if that leaves less than was decided; None: nothing."""
    weighed = weigh(policy, given)
    if WIDTH[weighed.verdict] >= WIDTH[decided.verdict]:
        return None
    return next((answer for answer in weighed.walk if answer.gate in gates and not answer.passed), None)


def decide(policy: Policy, given: DecisionInput) -> Decision:
    """The same policy and input give the same bytes."""
    weighed = weigh(policy, given)
    return Decision(
        verdict=weighed.verdict,
        autonomy=weighed.whole.autonomy,
        policy_version=policy.version,
        input_digest=digest_of(given),
        walk=tuple([_result(answer) for answer in weighed.walk]),
        approvals=weighed.whole.approvals,
        remedy_ttl_s=weighed.whole.remedy_ttl_s,
    )


@lru_cache(maxsize=8192)
def _result(answer: Answer) -> GateResult:
    return GateResult(
        gate=answer.gate,
        node=answer.node,
        passed=answer.passed,
        reason=answer.reason,
        step=answer.step,
        observed=answer.observed,
        limit=answer.limit,
    )
