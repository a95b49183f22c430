"""The meet: what several documents that match one request come to together.

Terms map a question to its tightest bound and the document that set it. A bound is written so that smaller is tighter
(floors and minimum times are negated), hence the meet takes the smaller of each: it is commutative, associative and
idempotent by construction, and adding a document can only tighten (invariant 6). It asks no question itself: `gates`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple

from watchkeeper.core.canonical import canonical
from watchkeeper.core.decisions import ApprovalTerms
from watchkeeper.core.manifest import Section
from watchkeeper.policies.approval.asking import Asked, asked_of, asking, stricter
from watchkeeper.policies.conditions.budget import ErrorBudget
from watchkeeper.policies.model import FailurePolicy, LimitSpec, PolicyDocument


class Term(IntEnum):
    AUTONOMY = 0
    BLAST_COUNT = 1
    BLAST_SHARE = 2
    RATE = 3
    COOLDOWN = 4
    PER_TARGET = 5
    FLEET = 6
    TTL = 7
    TRUST = 8
    CONFIDENCE = 9
    EVIDENCE = 10
    QUORUM = 11
    APPROVAL_TTL = 12
    HORIZONS = 13
    LAST_HORIZON = 14
    GUARDS = 15
    PROMOTION = 16
    WINDOWS = 17
    FREEZE = 18
    BUDGET_LEFT = 19
    MAX_BURN = 20
    MIN_BURN = 21
    RULE = 22


def bits(terms: Iterable[Term]) -> int:
    """The bit set of what is bounded."""
    return sum(1 << term for term in terms)


class Key(NamedTuple):
    """`on_failure` is part of the key: a cap that denies and one that asks a person bound the same thing apart.

    `detail` is a rate's window in seconds, a required sign, whom an approval asks (`asking`), an objective with its
    burn windows, or, canonically written, windows, a freeze or a rule: what cannot be compared is united, word by
    word."""

    term: Term
    on_failure: FailurePolicy = FailurePolicy.DENY
    detail: str = ""


class Bound(NamedTuple):
    """Smaller is tighter; between equals the first name stands, so that one author is named in any order."""

    tightness: float
    node: str


Terms = Mapping[Key, Bound]


def meet(many: Iterable[Terms]) -> dict[Key, Bound]:
    """The tightest bound of every question that any of them answers."""
    found: dict[Key, Bound] = {}
    for terms in many:
        for key, bound in terms.items():
            known = found.get(key)
            if known is None or bound < known:
                found[key] = bound
    return found


def terms_of(document: PolicyDocument) -> dict[Key, Bound]:
    """What one document asks for."""
    return {key: Bound(tightness, document.node) for key, tightness in _written(document.spec)}


def approvals_of(terms: Terms) -> tuple[ApprovalTerms, ...]:
    """Every approval that some document requires; those that ask the same people are one: the stricter of each."""
    found: dict[Asked, ApprovalTerms] = {}
    for key, quorum in sorted((key, bound) for key, bound in terms.items() if key.term is Term.QUORUM):
        ttl = terms[key._replace(term=Term.APPROVAL_TTL)]
        asked, not_author, separate = asked_of(key.detail)
        one = ApprovalTerms(
            node=quorum.node,
            roles=asked.roles,
            quorum=int(-quorum.tightness),
            ttl_s=int(ttl.tightness),
            not_author=not_author,
            separate=separate,
            escalation=asked.escalation,
        )
        found[asked] = one if asked not in found else stricter(found[asked], one)
    return tuple(found.values())


def _written(spec: LimitSpec) -> Iterator[tuple[Key, float]]:
    if spec.autonomy is not None:
        yield Key(Term.AUTONOMY), spec.autonomy.rank
    yield from _caps(spec)
    if spec.trust_floor is not None:
        yield Key(Term.TRUST), -spec.trust_floor
    if spec.min_confidence is not None:
        yield Key(Term.CONFIDENCE), -spec.min_confidence
    for sign in spec.required_evidence:
        yield Key(Term.EVIDENCE, spec.failure_policy, sign.value), 0.0
    yield from _conditions(spec)
    least: dict[str, tuple[int, int]] = {}
    for approval in spec.approvals:
        detail = asking(approval)
        quorum, ttl = least.get(detail, (approval.quorum, approval.ttl))
        least[detail] = max(quorum, approval.quorum), min(ttl, approval.ttl)
    for detail, (quorum, ttl) in least.items():
        yield Key(Term.QUORUM, detail=detail), -quorum
        yield Key(Term.APPROVAL_TTL, detail=detail), ttl


def _caps(spec: LimitSpec) -> Iterator[tuple[Key, float]]:
    caps, on_failure = spec.caps, spec.failure_policy
    if caps.max_blast_count is not None:
        yield Key(Term.BLAST_COUNT, on_failure), caps.max_blast_count
    if caps.max_blast_share is not None:
        yield Key(Term.BLAST_SHARE, on_failure), caps.max_blast_share
    if caps.rate is not None:
        yield Key(Term.RATE, on_failure, str(caps.rate.per)), caps.rate.count
    if caps.cooldown is not None:
        yield Key(Term.COOLDOWN, on_failure), -caps.cooldown
    if caps.concurrency is not None and caps.concurrency.per_target is not None:
        yield Key(Term.PER_TARGET, on_failure), caps.concurrency.per_target
    if caps.concurrency is not None and caps.concurrency.fleet is not None:
        yield Key(Term.FLEET, on_failure), caps.concurrency.fleet
    if caps.ttl is not None:
        yield Key(Term.TTL), caps.ttl


def _conditions(spec: LimitSpec) -> Iterator[tuple[Key, float]]:
    on_failure, asked = spec.failure_policy, spec.required_verification
    if asked.min_horizons is not None:
        yield Key(Term.HORIZONS, on_failure), -asked.min_horizons
    if asked.last_horizon is not None:
        yield Key(Term.LAST_HORIZON, on_failure), -asked.last_horizon
    if asked.min_guards is not None:
        yield Key(Term.GUARDS, on_failure), -asked.min_guards
    if spec.require_promotion:
        yield Key(Term.PROMOTION), 0.0
    if spec.windows:
        yield Key(Term.WINDOWS, on_failure, written(*spec.windows)), 0.0
    for freeze in spec.freezes:
        yield Key(Term.FREEZE, on_failure, written(freeze)), 0.0
    for budget in spec.error_budgets:
        yield from _burning(budget, on_failure)
    for rule in spec.rules:
        yield Key(Term.RULE, FailurePolicy.DENY, written(rule)), 0.0


def _burning(budget: ErrorBudget, on_failure: FailurePolicy) -> Iterator[tuple[Key, float]]:
    """At least one pair of `min_burn` must be reached, so its pairs are one condition; those of `max_burn` are many."""
    if budget.min_remaining is not None:
        yield Key(Term.BUDGET_LEFT, on_failure, budget.objective), -budget.min_remaining
    least: dict[str, float] = {}
    for burn in budget.max_burn:
        pair = f"{budget.objective} {burn.long} {burn.short}"
        least[pair] = min(least.get(pair, burn.rate), burn.rate)
    for pair, rate in least.items():
        yield Key(Term.MAX_BURN, on_failure, pair), rate
    if budget.min_burn:
        pairs = " ".join(f"{burn.long} {burn.short} {burn.rate!r}" for burn in budget.min_burn)
        yield Key(Term.MIN_BURN, on_failure, f"{budget.objective} {pairs}"), 0.0


def written(*sections: Section) -> str:
    """Sections of a document as the detail of a key."""
    return canonical([each.model_dump(mode="json", by_alias=True, exclude_defaults=True) for each in sections]).decode()
