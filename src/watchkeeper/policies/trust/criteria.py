"""What promotion asks of the evidence, one criterion at a time with its figures. Pure.

The evidence proposes; a person makes it. That a criterion is met gives no authority.
"""

from __future__ import annotations

from enum import StrEnum

from watchkeeper.core.model import Contract
from watchkeeper.policies.trust.evidence import Evidence
from watchkeeper.policies.trust.posterior import lower_bound, upper_bound
from watchkeeper.policies.trust.terms import Terms


class Asked(StrEnum):
    """Each is met by `observed` ≥ `required`, but `rollbacks` by ≤, and `beats_untreated` only by >."""

    OUTCOMES = "outcomes"
    RATE = "rate"
    ROLLBACKS = "rollbacks"
    LOWER_BOUND = "lower_bound"
    UNTREATED_SEEN = "untreated_seen"
    BEATS_UNTREATED = "beats_untreated"


class Criterion(Contract):
    """`observed` None: nothing is known of it, so it is not met. `required` None: nothing to be held against."""

    name: Asked
    met: bool
    observed: float | None
    required: float | None


def criteria(known: Evidence, terms: Terms) -> tuple[Criterion, ...]:
    """Every criterion, met or not. `beats_untreated` holds the lower bound of what was treated against the upper bound
    of what got well by itself: an action that does nothing passes it no more often than the two bounds allow."""
    counts, seen = known.counts, known.untreated_counts
    bound, untreated = lower_bound(known.levels, terms), upper_bound(known.untreated, terms)
    beats = bound is not None and untreated is not None and bound > untreated
    return (
        _least(Asked.OUTCOMES, counts.n, terms.outcomes),
        _least(Asked.RATE, counts.rate, terms.rate),
        Criterion(name=Asked.ROLLBACKS, met=known.rollbacks == 0, observed=known.rollbacks, required=0),
        _least(Asked.LOWER_BOUND, bound, terms.floor),
        _least(Asked.UNTREATED_SEEN, seen.n, terms.untreated),
        Criterion(name=Asked.BEATS_UNTREATED, met=beats, observed=bound, required=untreated),
    )


def _least(name: Asked, observed: float | None, required: float) -> Criterion:
    met = observed is not None and observed >= required
    return Criterion(name=name, met=met, observed=observed, required=required)


def missing(found: tuple[Criterion, ...]) -> tuple[Criterion, ...]:
    """What is not met; nothing: the evidence proposes promotion."""
    return tuple(each for each in found if not each.met)
