"""The questions a request passes, one function per gate, each answered with a named reason.

A failed gate says how far the request may still go: to nobody (`deny`), to the books (`shadow`), to a person
(`require_approval`). No gate can widen what another narrowed. What the input does not say (a rate, a trust) counts as
exceeded or not reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from watchkeeper.core.actions import ActionKind
from watchkeeper.core.decisions import ActionRequest, Autonomy, DecisionInput, Gate, Reason, Verdict
from watchkeeper.policies.meets import Meet, Node
from watchkeeper.policies.model import FailurePolicy
from watchkeeper.policies.terms import Bound, Key, Term

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


@lru_cache(maxsize=65_536)
def _nothing_against(gate: Gate, node: str, step: int) -> Answer:
    """The commonest answer by far, and always the same one."""
    return Answer(gate, node, True, Reason.PASSED, step, None, None, Verdict.ALLOW)


class Case(NamedTuple):
    """One request of a decision with what the documents that match it come to."""

    given: DecisionInput
    request: ActionRequest
    met: Meet

    @property
    def grants(self) -> tuple[Node, ...]:
        return self.met.grants

    @property
    def autonomy(self) -> Autonomy:
        return self.met.autonomy

    def bounds(self, term: Term) -> tuple[tuple[Key, Bound], ...]:
        return self.met.bounds.get(term, ())

    def passed(self, gate: Gate, node: str = CORE, observed: float | str | None = None) -> Answer:
        if observed is None:
            return _nothing_against(gate, node, self.request.step)
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

    def unless(self, bad: bool, gate: Gate, reason: Reason, at_most: Verdict = Verdict.REQUIRE_APPROVAL) -> Answer:
        """A built-in gate: no document can change what it asks."""
        return self.failed(gate, reason, at_most) if bad else self.passed(gate)

    def within(self, gate: Gate, term: Term, reason: Reason, observed: float | None) -> Iterator[Answer]:
        """A cap or, where tightness is negated, a floor. `observed` None: not known, so not within."""
        for key, bound in self.bounds(term):
            sign = -1.0 if bound.tightness < 0 else 1.0
            limit = abs(bound.tightness)
            good = observed is not None and sign * observed <= sign * limit
            yield Answer(
                gate,
                bound.node,
                good,
                Reason.PASSED if good else reason,
                self.request.step,
                observed,
                limit,
                Verdict.ALLOW if good else _ON_FAILURE[key.on_failure],
            )


def _protected(case: Case) -> Iterator[Answer]:
    yield case.unless(case.request.protected, Gate.PROTECTED, Reason.PROTECTED_TARGET, Verdict.DENY)


def _grant(case: Case) -> Iterator[Answer]:
    if not case.grants:
        yield case.failed(Gate.GRANT, Reason.NO_GRANT, Verdict.DENY)
    yield from _named(case, Gate.GRANT, case.grants)


def _limit(case: Case) -> Iterator[Answer]:
    yield from _named(case, Gate.LIMIT, case.met.limits)


def _named(case: Case, gate: Gate, nodes: tuple[Node, ...]) -> Iterator[Answer]:
    for node in nodes[:MAX_NAMED]:
        yield case.passed(gate, node.name)
    if len(nodes) > MAX_NAMED:
        yield case.passed(gate, observed=float(len(nodes)))


def _autonomy(case: Case) -> Iterator[Answer]:
    bound = case.met.terms.get(Key(Term.AUTONOMY))
    node = CORE if bound is None else bound.node
    match case.autonomy:
        case Autonomy.NONE:
            yield case.failed(Gate.AUTONOMY, Reason.FORBIDDEN, Verdict.DENY, node, limit=Autonomy.NONE.value)
        case Autonomy.SHADOW:
            yield case.failed(Gate.AUTONOMY, Reason.SHADOW_ONLY, Verdict.SHADOW, node, limit=Autonomy.SHADOW.value)
        case Autonomy.PROPOSE:
            yield case.failed(
                Gate.AUTONOMY, Reason.PROPOSE_ONLY, Verdict.REQUIRE_APPROVAL, node, limit=Autonomy.PROPOSE.value
            )
        case _:
            yield case.passed(Gate.AUTONOMY, node, case.autonomy.value)


def _kind(case: Case) -> Iterator[Answer]:
    """Bounded autonomy ends where nothing leads back."""
    bad = case.request.kind is ActionKind.IRREVERSIBLE and case.autonomy is not Autonomy.FULL
    yield case.unless(bad, Gate.KIND, Reason.KIND_NOT_COVERED)


def _undo(case: Case) -> Iterator[Answer]:
    """Invariant 5: a captured undo, or, for what restores itself, the postcondition that says it did."""
    match case.request.kind:
        case ActionKind.REVERSIBLE:
            bad = not case.request.undo_captured
        case ActionKind.SELF_RESTORING:
            bad = not case.request.verification_declared
        case ActionKind.IRREVERSIBLE:
            bad = False
    yield case.unless(bad, Gate.UNDO, Reason.NO_UNDO)


def _verification(case: Case) -> Iterator[Answer]:
    yield case.unless(not case.request.verification_declared, Gate.VERIFICATION, Reason.NO_VERIFICATION)


def _edge(case: Case) -> Iterator[Answer]:
    yield case.unless(not case.given.edge_proven, Gate.EDGE, Reason.EDGE_NOT_PROVEN)


def _novelty(case: Case) -> Iterator[Answer]:
    yield case.unless(case.given.novel, Gate.NOVELTY, Reason.NOVEL_CAUSE)


def _confidence(case: Case) -> Iterator[Answer]:
    yield from _floor(case, Gate.CONFIDENCE, Term.CONFIDENCE, Reason.CONFIDENCE_TOO_LOW, case.given.confidence)


def _owner(case: Case) -> Iterator[Answer]:
    yield case.unless(case.request.foreign_owner, Gate.OWNER, Reason.FOREIGN_OWNER)


def _conflict(case: Case) -> Iterator[Answer]:
    if case.given.conflicts:
        first = min(case.given.conflicts)
        yield case.failed(Gate.CONFLICT, Reason.CONFLICT_IN_FORCE, Verdict.DENY, observed=first)


def _blast_count(case: Case) -> Iterator[Answer]:
    observed = float(_touched(case))
    yield from case.within(Gate.BLAST_COUNT, Term.BLAST_COUNT, Reason.BLAST_COUNT_EXCEEDED, observed)


def _blast_share(case: Case) -> Iterator[Answer]:
    share = _touched(case) / case.request.blast_population
    yield from case.within(Gate.BLAST_SHARE, Term.BLAST_SHARE, Reason.BLAST_SHARE_EXCEEDED, share)


def _touched(case: Case) -> int:
    """Things of this kind that the whole plan touches, so that many small steps are not a way round the cap."""
    target = case.request.target
    counts: dict[str, int] = {}
    for other in case.given.requests:
        if (other.target.adapter, other.target.kind) == (target.adapter, target.kind):
            counts[other.target.id] = max(counts.get(other.target.id, 0), other.blast_count)
    return sum(counts.values())


def _rate(case: Case) -> Iterator[Answer]:
    """This plan's effects count too."""
    known = {str(rate.window_s): rate.count for rate in case.given.rates}
    for key, bound in case.bounds(Term.RATE):
        before = known.get(key.detail)
        observed = None if before is None else float(before + len(case.given.requests))
        if observed is not None and observed <= bound.tightness:
            yield case.passed(Gate.RATE, bound.node, observed)
        else:
            at_most = _ON_FAILURE[key.on_failure]
            yield case.failed(Gate.RATE, Reason.RATE_EXCEEDED, at_most, bound.node, observed, bound.tightness)


def _cooldown(case: Case) -> Iterator[Answer]:
    since = case.request.seconds_since_last
    if since is not None:
        yield from case.within(Gate.COOLDOWN, Term.COOLDOWN, Reason.COOLING_DOWN, since)


def _concurrency(case: Case) -> Iterator[Answer]:
    """This plan runs too."""
    on_target, fleet = case.request.running_on_target + 1.0, case.given.running_fleet + 1.0
    yield from case.within(Gate.CONCURRENCY, Term.PER_TARGET, Reason.TOO_MANY_RUNNING, on_target)
    yield from case.within(Gate.CONCURRENCY, Term.FLEET, Reason.TOO_MANY_RUNNING, fleet)


def _trust(case: Case) -> Iterator[Answer]:
    yield from _floor(case, Gate.TRUST, Term.TRUST, Reason.TRUST_TOO_LOW, case.given.trust_lower_bound)


def _floor(case: Case, gate: Gate, term: Term, reason: Reason, observed: float | None) -> Iterator[Answer]:
    """Who does not reach it may still ask a person. Not known is not reached."""
    bound = case.met.terms.get(Key(term))
    if bound is None:
        return
    if observed is not None and observed >= -bound.tightness:
        yield case.passed(gate, bound.node, observed)
    else:
        yield case.failed(gate, reason, Verdict.REQUIRE_APPROVAL, bound.node, observed, -bound.tightness)


def _evidence(case: Case) -> Iterator[Answer]:
    for key, bound in case.bounds(Term.EVIDENCE):
        if key.detail not in case.given.signs:
            at_most = _ON_FAILURE[key.on_failure]
            yield case.failed(Gate.EVIDENCE, Reason.EVIDENCE_MISSING, at_most, bound.node, limit=key.detail)


def _approval(case: Case) -> Iterator[Answer]:
    for key, bound in case.bounds(Term.QUORUM):
        yield case.failed(
            Gate.APPROVAL, Reason.APPROVAL_REQUIRED, Verdict.REQUIRE_APPROVAL, bound.node, key.detail, -bound.tightness
        )


GATES: Mapping[Gate, Callable[[Case], Iterator[Answer]]] = {
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


def ask(case: Case) -> list[Answer]:
    """Every gate in order; where no Grant matches, the gates after it have nothing to narrow."""
    walk: list[Answer] = []
    for gate, question in GATES.items():
        walk += list(question(case)) or [case.passed(gate)]
        if gate is Gate.GRANT and not case.grants:
            break
    return walk
