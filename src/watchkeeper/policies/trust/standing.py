"""Where one (agent, action, scope) stands: what people and programs are shown, and decide promotion by."""

from __future__ import annotations

from watchkeeper.core.model import Contract, Instant
from watchkeeper.policies.trust.criteria import Criterion, criteria, missing
from watchkeeper.policies.trust.evidence import Counts, Evidence
from watchkeeper.policies.trust.key import TrustKey
from watchkeeper.policies.trust.posterior import borrowed, lower_bound, upper_bound
from watchkeeper.policies.trust.terms import Terms


class Seen(Contract):
    """Outcomes as they are. `nothing`: they were neither (inconclusive, moot, never verified)."""

    successes: int
    failures: int
    nothing: int
    rate: float | None

    @classmethod
    def of(cls, counts: Counts) -> Seen:
        return cls(successes=counts.successes, failures=counts.failures, nothing=counts.nothing, rate=counts.rate)


class Standing(Contract):
    """`proposed`: every criterion is met; a person decides. `lower_bound` is what a `trustFloor` is held against."""

    key: TrustKey
    verified: Seen
    approved: int
    """Of the verified: those that a person had approved."""
    edited: Seen
    lower_bound: float | None
    borrowed: float
    """How many pseudo-counts of the parent are in the bound."""
    untreated: Seen
    untreated_upper: float | None
    last: Instant | None
    criteria: tuple[Criterion, ...]
    missing: tuple[Criterion, ...]
    proposed: bool


def standing(key: TrustKey, known: Evidence, terms: Terms) -> Standing:
    asked = criteria(known, terms)
    left = missing(asked)
    return Standing(
        key=key,
        verified=Seen.of(known.counts),
        approved=known.approved,
        edited=Seen.of(known.edited),
        lower_bound=lower_bound(known.levels, terms),
        borrowed=round(borrowed(known.levels, terms).n, 3),
        untreated=Seen.of(known.untreated_counts),
        untreated_upper=upper_bound(known.untreated, terms),
        last=known.last,
        criteria=asked,
        missing=left,
        proposed=not left,
    )
