"""What policy and people grant at all, and what no document can open: questions about the plan itself.

`raised` tells at once which of the built-in questions have something to say, so that the others need not be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from watchkeeper.core.actions import ActionKind
from watchkeeper.core.decisions import ActionRequest, AgentStanding, Autonomy, DecisionInput, Gate, Reason, Verdict
from watchkeeper.policies.gates.answers import CORE, NOTHING, Answer, Answers, Case, passing
from watchkeeper.policies.meets import Meet
from watchkeeper.policies.terms import Term

MAX_NAMED = 16
"""How many matching documents of each kind the walk names; the count is always told."""

_BY_RANK = tuple(Autonomy)


def autonomy_of(met: Meet, standing: AgentStanding | None) -> Autonomy:
    """What is left to the agent by the documents, by its ceiling, and, where they ask for it, by its promotion."""
    if standing is None and not met.asks_promotion:
        return met.autonomy
    rank = met.autonomy.rank
    if standing is not None and standing.ceiling is not Autonomy.FULL:
        rank = min(rank, standing.ceiling.rank)
    if met.asks_promotion:
        promoted = None if standing is None else standing.promoted
        rank = min(rank, (promoted or Autonomy.PROPOSE).rank)
    return _BY_RANK[rank]


def protected(case: Case) -> Answers:
    return case.unless(case.request.protected, Gate.PROTECTED, Reason.PROTECTED_TARGET, Verdict.DENY)


class Settled(NamedTuple):
    """A question to which the documents alone are the answer: `says(meet, step)`."""

    says: Callable[[Meet, int], Answers]


def grant(met: Meet, step: int) -> Answers:
    if not met.grants:
        return (Answer(Gate.GRANT, CORE, False, Reason.NO_GRANT, step, None, None, Verdict.DENY),)
    return _named(Gate.GRANT, met.grants, step)


def limit(met: Meet, step: int) -> Answers:
    return _named(Gate.LIMIT, met.limits, step)


@lru_cache(maxsize=4096)
def _named(gate: Gate, names: tuple[str, ...], step: int) -> Answers:
    """The matching documents, by name."""
    named = [passing(gate, name, step) for name in names[:MAX_NAMED]]
    if len(names) > MAX_NAMED:
        named.append(Answer(gate, CORE, True, Reason.PASSED, step, float(len(names)), None, Verdict.ALLOW))
    return tuple(named)


def autonomy(met: Meet, step: int) -> Answers:
    """As far as the documents go."""
    bounds = met.bounds.get(Term.AUTONOMY)
    return _as_far_as(met.autonomy, bounds[0][1].node if bounds else CORE, step)


_NOT_ALONE = {
    Autonomy.NONE: (Reason.FORBIDDEN, Verdict.DENY),
    Autonomy.SHADOW: (Reason.SHADOW_ONLY, Verdict.SHADOW),
    Autonomy.PROPOSE: (Reason.PROPOSE_ONLY, Verdict.REQUIRE_APPROVAL),
}


@lru_cache(maxsize=4096)
def _as_far_as(autonomy: Autonomy, node: str, step: int) -> Answers:
    name = autonomy.value
    if autonomy not in _NOT_ALONE:
        return (Answer(Gate.AUTONOMY, node, True, Reason.PASSED, step, name, None, Verdict.ALLOW),)
    reason, at_most = _NOT_ALONE[autonomy]
    return (Answer(Gate.AUTONOMY, node, False, reason, step, None, name, at_most),)


def standing(case: Case) -> Answers:
    """As far as people let the agent go. `observed` is how far that is."""
    known, answers = case.given.standing, []
    if known is not None and known.ceiling in _NOT_ALONE:
        at_most = _NOT_ALONE[known.ceiling][1]
        ceiling = known.ceiling.value
        answers.append(case.failed(Gate.STANDING, Reason.AGENT_HELD_BACK, at_most, observed=ceiling))
    if known is not None and known.over_budget:
        answers.append(case.failed(Gate.STANDING, Reason.AGENT_OVER_BUDGET, Verdict.REQUIRE_APPROVAL))
    for _, bound in case.bounds(Term.PROMOTION):
        answers.append(_promotion(case, bound.node, None if known is None else known.promoted))
    return tuple(answers) or (NOTHING if known is None else _stands(known.ceiling, case.request.step))


def _promotion(case: Case, node: str, promoted: Autonomy | None) -> Answer:
    """One that was promoted no further than to propose has been held there by a person as well."""
    observed = None if promoted is None else promoted.value
    if promoted is None:
        return case.failed(Gate.STANDING, Reason.NOT_PROMOTED, Verdict.REQUIRE_APPROVAL, node, observed)
    if promoted in _NOT_ALONE:
        return case.failed(Gate.STANDING, Reason.NOT_PROMOTED, _NOT_ALONE[promoted][1], node, observed)
    return case.passed(Gate.STANDING, node, observed)


@lru_cache(maxsize=256)
def _stands(ceiling: Autonomy, step: int) -> Answers:
    return (Answer(Gate.STANDING, CORE, True, Reason.PASSED, step, ceiling.value, None, Verdict.ALLOW),)


def kind(case: Case) -> Answers:
    """Bounded autonomy ends where nothing leads back."""
    bad = case.request.kind is ActionKind.IRREVERSIBLE and case.autonomy is not Autonomy.FULL
    return case.unless(bad, Gate.KIND, Reason.KIND_NOT_COVERED)


def undo(case: Case) -> Answers:
    """Invariant 5: a captured undo, or, for what restores itself, the postcondition that says it did."""
    match case.request.kind:
        case ActionKind.REVERSIBLE:
            bad = not case.request.undo_captured
        case ActionKind.SELF_RESTORING:
            bad = not case.request.verification_declared
        case ActionKind.IRREVERSIBLE:
            bad = False
    return case.unless(bad, Gate.UNDO, Reason.NO_UNDO)


def verification(case: Case) -> Answers:
    """That there is one, no document can change; how much of it is needed, documents say."""
    return case.unless(not case.request.verification_declared, Gate.VERIFICATION, Reason.NO_VERIFICATION)


def edge(case: Case) -> Answers:
    return case.unless(not case.given.edge_proven, Gate.EDGE, Reason.EDGE_NOT_PROVEN)


def novelty(case: Case) -> Answers:
    return case.unless(case.given.novel, Gate.NOVELTY, Reason.NOVEL_CAUSE)


def owner(case: Case) -> Answers:
    return case.unless(case.request.foreign_owner, Gate.OWNER, Reason.FOREIGN_OWNER)


def conflict(case: Case) -> Answers:
    if not case.given.conflicts:
        return NOTHING
    first = min(case.given.conflicts)
    return (case.failed(Gate.CONFLICT, Reason.CONFLICT_IN_FORCE, Verdict.DENY, observed=first),)


RAISED_BY: Mapping[Gate, int] = {
    Gate.PROTECTED: 1,
    Gate.STANDING: 2,
    Gate.KIND: 4,
    Gate.UNDO: 8,
    Gate.VERIFICATION: 16,
    Gate.EDGE: 32,
    Gate.NOVELTY: 64,
    Gate.OWNER: 128,
    Gate.CONFLICT: 256,
}
"""The bit of each built-in question in what `raised` gives."""


def raised(given: DecisionInput, request: ActionRequest) -> int:
    """The built-in questions that may have something against the request; all others have nothing."""
    found = 0 if given.standing is None else 2
    if request.protected:
        found |= 1
    if request.kind is ActionKind.IRREVERSIBLE:
        found |= 4
    if not request.undo_captured:
        found |= 8
    if not request.verification_declared:
        found |= 24
    if not given.edge_proven:
        found |= 32
    if given.novel:
        found |= 64
    if request.foreign_owner:
        found |= 128
    if given.conflicts:
        found |= 256
    return found
