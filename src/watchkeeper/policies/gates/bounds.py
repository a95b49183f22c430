"""What is observed, held against the bounds that documents set."""

from __future__ import annotations

from watchkeeper.core.decisions import Gate, Reason, Verdict
from watchkeeper.policies.gates.answers import NOTHING, ON_FAILURE, Answers, Case
from watchkeeper.policies.terms import Term


def verification(case: Case) -> Answers:
    """That there is one, no document can change; how much of it is needed, documents say."""
    missing = case.unless(not case.request.verification_declared, Gate.VERIFICATION, Reason.NO_VERIFICATION)
    known = case.given.verification
    return (
        missing
        + case.within(
            Gate.VERIFICATION, Term.HORIZONS, Reason.TOO_FEW_HORIZONS, None if known is None else float(known.horizons)
        )
        + case.within(
            Gate.VERIFICATION, Term.LAST_HORIZON, Reason.VERIFICATION_TOO_SHORT, None if known is None else known.last_s
        )
        + case.within(
            Gate.VERIFICATION, Term.GUARDS, Reason.TOO_FEW_GUARDS, None if known is None else float(known.guards)
        )
    )


def confidence(case: Case) -> Answers:
    return _floor(case, Gate.CONFIDENCE, Term.CONFIDENCE, Reason.CONFIDENCE_TOO_LOW, case.given.confidence)


def trust(case: Case) -> Answers:
    return _floor(case, Gate.TRUST, Term.TRUST, Reason.TRUST_TOO_LOW, case.given.trust_lower_bound)


def _floor(case: Case, gate: Gate, term: Term, reason: Reason, observed: float | None) -> Answers:
    """Who does not reach it may still ask a person. Not known is not reached."""
    bounds = case.met.bounds.get(term)
    if bounds is None:
        return NOTHING
    bound = bounds[0][1]
    if observed is not None and observed >= -bound.tightness:
        return (case.passed(gate, bound.node, observed),)
    return (case.failed(gate, reason, Verdict.REQUIRE_APPROVAL, bound.node, observed, -bound.tightness),)


def blast_count(case: Case) -> Answers:
    return case.within(Gate.BLAST_COUNT, Term.BLAST_COUNT, Reason.BLAST_COUNT_EXCEEDED, float(_touched(case)))


def blast_share(case: Case) -> Answers:
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


def rate(case: Case) -> Answers:
    """This plan's effects count too."""
    asked = len(case.given.requests)
    known = {str(rate.window_s): float(rate.count + asked) for rate in case.given.rates}
    answers = []
    for key, bound in case.bounds(Term.RATE):
        observed = known.get(key.detail)
        if observed is not None and observed <= bound.tightness:
            answers.append(case.passed(Gate.RATE, bound.node, observed))
        else:
            at_most = ON_FAILURE[key.on_failure]
            answers.append(case.failed(Gate.RATE, Reason.RATE_EXCEEDED, at_most, bound.node, observed, bound.tightness))
    return tuple(answers)


def cooldown(case: Case) -> Answers:
    since = case.request.seconds_since_last
    return NOTHING if since is None else case.within(Gate.COOLDOWN, Term.COOLDOWN, Reason.COOLING_DOWN, since)


def concurrency(case: Case) -> Answers:
    """This plan runs too."""
    on_target, fleet = case.request.running_on_target + 1.0, case.given.running_fleet + 1.0
    return case.within(Gate.CONCURRENCY, Term.PER_TARGET, Reason.TOO_MANY_RUNNING, on_target) + case.within(
        Gate.CONCURRENCY, Term.FLEET, Reason.TOO_MANY_RUNNING, fleet
    )


def evidence(case: Case) -> Answers:
    signs = case.given.signs
    return tuple(
        [
            case.failed(
                Gate.EVIDENCE, Reason.EVIDENCE_MISSING, ON_FAILURE[key.on_failure], bound.node, limit=key.detail
            )
            for key, bound in case.bounds(Term.EVIDENCE)
            if key.detail not in signs
        ]
    )


def approval(case: Case) -> Answers:
    ask = Verdict.REQUIRE_APPROVAL
    return tuple(
        [
            case.failed(Gate.APPROVAL, Reason.APPROVAL_REQUIRED, ask, bound.node, key.detail, -bound.tightness)
            for key, bound in case.bounds(Term.QUORUM)
        ]
    )
