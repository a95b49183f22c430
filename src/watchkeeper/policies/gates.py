"""The questions a request passes, one function per gate, each answered with a named reason.

A failed gate says how far the request may still go: to nobody (`deny`), to the books (`shadow`), to a person
(`require_approval`). No gate can widen what another narrowed. What the input does not say (a rate, a trust) counts as
exceeded or not reached.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from watchkeeper.core.actions import ActionKind
from watchkeeper.core.decisions import ActionRequest, Autonomy, DecisionInput, Gate, Reason, Verdict
from watchkeeper.policies.meets import Meet
from watchkeeper.policies.model import FailurePolicy
from watchkeeper.policies.terms import Bound, Key, Term, bits

CORE = "core"
MAX_NAMED = 16
"""How many matching documents of each kind the walk names; the count is always told."""

_ON_FAILURE = {FailurePolicy.DENY: Verdict.DENY, FailurePolicy.REQUIRE_APPROVAL: Verdict.REQUIRE_APPROVAL}


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
    """One request of a decision with what the documents that match it come to."""

    given: DecisionInput
    request: ActionRequest
    met: Meet

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

    def within(self, gate: Gate, term: Term, reason: Reason, observed: float | None) -> Answers:
        """A cap or, where tightness is negated, a floor. `observed` None: not known, so not within."""
        bounds = self.met.bounds.get(term)
        if bounds is None:
            return NOTHING
        answers, step = [], self.request.step
        for key, bound in bounds:
            limit = abs(bound.tightness)
            if observed is not None and (observed <= limit if bound.tightness >= 0 else observed >= limit):
                answers.append(Answer(gate, bound.node, True, Reason.PASSED, step, observed, limit, Verdict.ALLOW))
            else:
                at_most = _ON_FAILURE[key.on_failure]
                answers.append(Answer(gate, bound.node, False, reason, step, observed, limit, at_most))
        return tuple(answers)


def _protected(case: Case) -> Answers:
    return case.unless(case.request.protected, Gate.PROTECTED, Reason.PROTECTED_TARGET, Verdict.DENY)


def _grant(case: Case) -> Answers:
    if not case.met.grants:
        return (case.failed(Gate.GRANT, Reason.NO_GRANT, Verdict.DENY),)
    return _named(Gate.GRANT, case.met.grants, case.request.step)


def _limit(case: Case) -> Answers:
    return _named(Gate.LIMIT, case.met.limits, case.request.step)


@lru_cache(maxsize=4096)
def _named(gate: Gate, names: tuple[str, ...], step: int) -> Answers:
    """The matching documents, by name."""
    named = [passing(gate, name, step) for name in names[:MAX_NAMED]]
    if len(names) > MAX_NAMED:
        named.append(Answer(gate, CORE, True, Reason.PASSED, step, float(len(names)), None, Verdict.ALLOW))
    return tuple(named)


def _autonomy(case: Case) -> Answers:
    bounds = case.bounds(Term.AUTONOMY)
    return _as_far_as(case.met.autonomy, bounds[0][1].node if bounds else CORE, case.request.step)


@lru_cache(maxsize=4096)
def _as_far_as(autonomy: Autonomy, node: str, step: int) -> Answers:
    name = autonomy.value
    match autonomy:
        case Autonomy.NONE:
            reason, at_most = Reason.FORBIDDEN, Verdict.DENY
        case Autonomy.SHADOW:
            reason, at_most = Reason.SHADOW_ONLY, Verdict.SHADOW
        case Autonomy.PROPOSE:
            reason, at_most = Reason.PROPOSE_ONLY, Verdict.REQUIRE_APPROVAL
        case _:
            return (Answer(Gate.AUTONOMY, node, True, Reason.PASSED, step, name, None, Verdict.ALLOW),)
    return (Answer(Gate.AUTONOMY, node, False, reason, step, None, name, at_most),)


def _kind(case: Case) -> Answers:
    """Bounded autonomy ends where nothing leads back."""
    bad = case.request.kind is ActionKind.IRREVERSIBLE and case.met.autonomy is not Autonomy.FULL
    return case.unless(bad, Gate.KIND, Reason.KIND_NOT_COVERED)


def _undo(case: Case) -> Answers:
    """Invariant 5: a captured undo, or, for what restores itself, the postcondition that says it did."""
    match case.request.kind:
        case ActionKind.REVERSIBLE:
            bad = not case.request.undo_captured
        case ActionKind.SELF_RESTORING:
            bad = not case.request.verification_declared
        case ActionKind.IRREVERSIBLE:
            bad = False
    return case.unless(bad, Gate.UNDO, Reason.NO_UNDO)


def _verification(case: Case) -> Answers:
    return case.unless(not case.request.verification_declared, Gate.VERIFICATION, Reason.NO_VERIFICATION)


def _edge(case: Case) -> Answers:
    return case.unless(not case.given.edge_proven, Gate.EDGE, Reason.EDGE_NOT_PROVEN)


def _novelty(case: Case) -> Answers:
    return case.unless(case.given.novel, Gate.NOVELTY, Reason.NOVEL_CAUSE)


def _confidence(case: Case) -> Answers:
    return _floor(case, Gate.CONFIDENCE, Term.CONFIDENCE, Reason.CONFIDENCE_TOO_LOW, case.given.confidence)


def _owner(case: Case) -> Answers:
    return case.unless(case.request.foreign_owner, Gate.OWNER, Reason.FOREIGN_OWNER)


def _conflict(case: Case) -> Answers:
    if not case.given.conflicts:
        return NOTHING
    first = min(case.given.conflicts)
    return (case.failed(Gate.CONFLICT, Reason.CONFLICT_IN_FORCE, Verdict.DENY, observed=first),)


def _blast_count(case: Case) -> Answers:
    return case.within(Gate.BLAST_COUNT, Term.BLAST_COUNT, Reason.BLAST_COUNT_EXCEEDED, float(_touched(case)))


def _blast_share(case: Case) -> Answers:
    share = _touched(case) / case.request.blast_population
    return case.within(Gate.BLAST_SHARE, Term.BLAST_SHARE, Reason.BLAST_SHARE_EXCEEDED, share)


def _touched(case: Case) -> int:
    """Things of this kind that the whole plan touches, so that many small steps are not a way round the cap."""
    if len(case.given.requests) == 1:
        return case.request.blast_count
    target = case.request.target
    counts: dict[str, int] = {}
    for other in case.given.requests:
        if (other.target.adapter, other.target.kind) == (target.adapter, target.kind):
            counts[other.target.id] = max(counts.get(other.target.id, 0), other.blast_count)
    return sum(counts.values())


def _rate(case: Case) -> Answers:
    """This plan's effects count too."""
    known = {str(rate.window_s): rate.count for rate in case.given.rates}
    answers = []
    for key, bound in case.bounds(Term.RATE):
        before = known.get(key.detail)
        observed = None if before is None else float(before + len(case.given.requests))
        if observed is not None and observed <= bound.tightness:
            answers.append(case.passed(Gate.RATE, bound.node, observed))
        else:
            at_most = _ON_FAILURE[key.on_failure]
            answers.append(case.failed(Gate.RATE, Reason.RATE_EXCEEDED, at_most, bound.node, observed, bound.tightness))
    return tuple(answers)


def _cooldown(case: Case) -> Answers:
    since = case.request.seconds_since_last
    return NOTHING if since is None else case.within(Gate.COOLDOWN, Term.COOLDOWN, Reason.COOLING_DOWN, since)


def _concurrency(case: Case) -> Answers:
    """This plan runs too."""
    on_target, fleet = case.request.running_on_target + 1.0, case.given.running_fleet + 1.0
    return case.within(Gate.CONCURRENCY, Term.PER_TARGET, Reason.TOO_MANY_RUNNING, on_target) + case.within(
        Gate.CONCURRENCY, Term.FLEET, Reason.TOO_MANY_RUNNING, fleet
    )


def _trust(case: Case) -> Answers:
    return _floor(case, Gate.TRUST, Term.TRUST, Reason.TRUST_TOO_LOW, case.given.trust_lower_bound)


def _floor(case: Case, gate: Gate, term: Term, reason: Reason, observed: float | None) -> Answers:
    """Who does not reach it may still ask a person. Not known is not reached."""
    bounds = case.bounds(term)
    if not bounds:
        return NOTHING
    bound = bounds[0][1]
    if observed is not None and observed >= -bound.tightness:
        return (case.passed(gate, bound.node, observed),)
    return (case.failed(gate, reason, Verdict.REQUIRE_APPROVAL, bound.node, observed, -bound.tightness),)


def _evidence(case: Case) -> Answers:
    return tuple(
        [
            case.failed(
                Gate.EVIDENCE, Reason.EVIDENCE_MISSING, _ON_FAILURE[key.on_failure], bound.node, limit=key.detail
            )
            for key, bound in case.bounds(Term.EVIDENCE)
            if key.detail not in case.given.signs
        ]
    )


def _approval(case: Case) -> Answers:
    ask = Verdict.REQUIRE_APPROVAL
    return tuple(
        [
            case.failed(Gate.APPROVAL, Reason.APPROVAL_REQUIRED, ask, bound.node, key.detail, -bound.tightness)
            for key, bound in case.bounds(Term.QUORUM)
        ]
    )


GATES: Mapping[Gate, Callable[[Case], Answers]] = {
    Gate.PROTECTED: _protected,
    Gate.GRANT: _grant,
    Gate.LIMIT: _limit,
    Gate.AUTONOMY: _autonomy,
    Gate.KIND: _kind,
    Gate.UNDO: _undo,
    Gate.VERIFICATION: _verification,
    Gate.EDGE: _edge,
    Gate.NOVELTY: _novelty,
    Gate.CONFIDENCE: _confidence,
    Gate.OWNER: _owner,
    Gate.CONFLICT: _conflict,
    Gate.BLAST_COUNT: _blast_count,
    Gate.BLAST_SHARE: _blast_share,
    Gate.RATE: _rate,
    Gate.COOLDOWN: _cooldown,
    Gate.CONCURRENCY: _concurrency,
    Gate.TRUST: _trust,
    Gate.EVIDENCE: _evidence,
    Gate.APPROVAL: _approval,
}
"""In the order in which they are asked: that of `Gate`. One that has nothing to say against a request has passed."""


BOUND_BY: Mapping[Gate, tuple[Term, ...]] = {
    Gate.CONFIDENCE: (Term.CONFIDENCE,),
    Gate.BLAST_COUNT: (Term.BLAST_COUNT,),
    Gate.BLAST_SHARE: (Term.BLAST_SHARE,),
    Gate.RATE: (Term.RATE,),
    Gate.COOLDOWN: (Term.COOLDOWN,),
    Gate.CONCURRENCY: (Term.PER_TARGET, Term.FLEET),
    Gate.TRUST: (Term.TRUST,),
    Gate.EVIDENCE: (Term.EVIDENCE,),
    Gate.APPROVAL: (Term.QUORUM,),
}
"""Gates that hold what is observed against a bound: where the documents set none, they need not be asked."""

_Turn = tuple[Callable[[Case], Answers] | None, Answers]
"""A question, and what stands in the walk where it has no answer. None: gates that need not be asked, in a row."""


@lru_cache(maxsize=4096)
def _turns(bounded: int, granted: bool, step: int) -> tuple[_Turn, ...]:
    """Every gate in order; where no Grant matches, the gates after it have nothing to narrow."""
    turns: list[_Turn] = []
    for gate, question in GATES.items():
        silent = (passing(gate, CORE, step),)
        if gate not in BOUND_BY or bounded & bits(BOUND_BY[gate]):
            turns.append((question, silent))
        elif turns and turns[-1][0] is None:
            turns[-1] = (None, turns[-1][1] + silent)
        else:
            turns.append((None, silent))
        if gate is Gate.GRANT and not granted:
            break
    return tuple(turns)


def ask(case: Case) -> list[Answer]:
    """The walk of one request: what each gate says, in order."""
    walk: list[Answer] = []
    for question, silent in _turns(case.met.bounded, bool(case.met.grants), case.request.step):
        walk += silent if question is None else question(case) or silent
    return walk
