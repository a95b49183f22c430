"""Windows, freezes, error budgets and the team's own rules, asked of the decision's input alone.

They read no clock and count nothing: what the input does not say (an offset, a budget, a label) is not reached.
"""

from __future__ import annotations

import json
from functools import lru_cache

from watchkeeper.core.decisions import BudgetReading, DecisionInput, Gate, Reason, Verdict
from watchkeeper.policies.conditions.cel import Facts
from watchkeeper.policies.conditions.rules import Rule, RuleAction
from watchkeeper.policies.conditions.when import Freeze, Window, any_open
from watchkeeper.policies.gates.answers import NOTHING, ON_FAILURE, Answer, Answers, Case
from watchkeeper.policies.terms import Term


@lru_cache(maxsize=4096)
def _windows(detail: str) -> tuple[Window, ...]:
    return tuple(Window.model_validate(each) for each in json.loads(detail))


@lru_cache(maxsize=4096)
def _freeze(detail: str) -> Freeze:
    return Freeze.model_validate(json.loads(detail)[0])


@lru_cache(maxsize=4096)
def _rule(detail: str) -> Rule:
    return Rule.model_validate(json.loads(detail)[0])


def window(case: Case) -> Answers:
    """One of each document's windows has to be open."""
    given, answers = case.given, []
    for key, bound in case.bounds(Term.WINDOWS):
        if any_open(_windows(key.detail), given.at, given.offsets):
            answers.append(case.passed(Gate.WINDOW, bound.node))
        else:
            answers.append(case.failed(Gate.WINDOW, Reason.OUTSIDE_WINDOW, ON_FAILURE[key.on_failure], bound.node))
    return tuple(answers)


def freeze(case: Case) -> Answers:
    """`observed` is the freeze's name, `limit` when it ends."""
    answers = []
    for key, bound in case.bounds(Term.FREEZE):
        held = _freeze(key.detail)
        if held.holds(case.given.at):
            end = held.end.isoformat().replace("+00:00", "Z")
            answers.append(
                case.failed(Gate.FREEZE, Reason.FROZEN, ON_FAILURE[key.on_failure], bound.node, held.name, end)
            )
    return tuple(answers) or _unless_unset(case)


def _unless_unset(case: Case) -> Answers:
    bounds = case.bounds(Term.FREEZE)
    return (case.passed(Gate.FREEZE, bounds[0][1].node),) if bounds else NOTHING


def error_budget(case: Case) -> Answers:
    """What is left of it, that it does not burn too fast, and that it burns at all."""
    return _left(case) + _burns_too_fast(case) + _burns_too_slowly(case)


def _left(case: Case) -> Answers:
    answers = []
    for key, bound in case.bounds(Term.BUDGET_LEFT):
        read = _reading(case.given, key.detail)
        left, least = None if read is None else read.remaining, -bound.tightness
        if left is not None and left >= least:
            answers.append(case.passed(Gate.ERROR_BUDGET, bound.node, left))
        else:
            at_most = ON_FAILURE[key.on_failure]
            answers.append(case.failed(Gate.ERROR_BUDGET, Reason.BUDGET_SPENT, at_most, bound.node, left, least))
    return tuple(answers)


def _burns_too_fast(case: Case) -> Answers:
    answers = []
    for key, bound in case.bounds(Term.MAX_BURN):
        objective, long, short = key.detail.split(" ")
        burns, most = _burns(case.given, objective, int(long), int(short)), bound.tightness
        if burns is not None and burns <= most:
            answers.append(case.passed(Gate.ERROR_BUDGET, bound.node, burns))
        else:
            at_most = ON_FAILURE[key.on_failure]
            answers.append(case.failed(Gate.ERROR_BUDGET, Reason.BURNS_TOO_FAST, at_most, bound.node, burns, most))
    return tuple(answers)


def _burns_too_slowly(case: Case) -> Answers:
    """One of a document's pairs of windows is enough; told is the one that comes nearest."""
    answers = []
    for key, bound in case.bounds(Term.MIN_BURN):
        nearest, least, reached = _nearest(case.given, key.detail)
        if reached:
            answers.append(case.passed(Gate.ERROR_BUDGET, bound.node, nearest))
        else:
            at_most = ON_FAILURE[key.on_failure]
            answers.append(case.failed(Gate.ERROR_BUDGET, Reason.BURNS_TOO_SLOWLY, at_most, bound.node, nearest, least))
    return tuple(answers)


def _nearest(given: DecisionInput, detail: str) -> tuple[float | None, float, bool]:
    objective, *words = detail.split(" ")
    found: list[tuple[float, float, float | None]] = []
    for long, short, rate in zip(words[::3], words[1::3], words[2::3], strict=True):
        burns, least = _burns(given, objective, int(long), int(short)), float(rate)
        found.append((-1.0 if burns is None else burns / least, least, burns))
    share, least, burns = max(found, key=lambda each: each[0])
    return burns, least, share >= 1


def _burns(given: DecisionInput, objective: str, long_s: int, short_s: int) -> float | None:
    """How fast the budget burns in both windows: the slower of the two."""
    read = _reading(given, objective)
    rates = {} if read is None else {burn.window_s: burn.rate for burn in read.burns}
    if long_s not in rates or short_s not in rates:
        return None
    return min(rates[long_s], rates[short_s])


def _reading(given: DecisionInput, objective: str) -> BudgetReading | None:
    return next((read for read in given.budgets if read.objective == objective), None)


def rule(case: Case) -> Answers:
    """`observed` is the rule's name. Its message is free text, and stays in the policy, which is kept with every
    decision's version: `Policy.message`."""
    bounds = case.bounds(Term.RULE)
    if not bounds:
        return NOTHING
    facts = Facts(case.given, case.request)
    return tuple([_ruled(case, _rule(key.detail), bound.node, facts) for key, bound in bounds])


_NARROWS = {RuleAction.DENY: Verdict.DENY, RuleAction.REQUIRE_APPROVAL: Verdict.REQUIRE_APPROVAL}
_TELLS = {RuleAction.WARN: Reason.WARNED, RuleAction.AUDIT: Reason.AUDITED}


def _ruled(case: Case, rule: Rule, node: str, facts: Facts) -> Answer:
    holds = facts.hold(rule.expression)
    if holds:
        return case.passed(Gate.RULE, node, rule.name)
    if rule.action in _TELLS:
        reason = _TELLS[rule.action]
        return Answer(Gate.RULE, node, True, reason, case.request.step, rule.name, None, Verdict.ALLOW)
    reason = Reason.RULE_UNKNOWN if holds is None else Reason.RULE_NOT_MET
    return case.failed(Gate.RULE, reason, _NARROWS[rule.action], node, rule.name)
