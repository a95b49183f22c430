"""What a phase asks of the evidence, one criterion at a time with its figures. Pure.

The evidence proposes; a person moves the service. That a criterion is met gives no authority.
"""

from __future__ import annotations

from typing import NamedTuple

from watchkeeper.core.rollout import PhaseAsks, RolloutCriterion
from watchkeeper.policies.rollout.terms import PhaseTerms


class Track(NamedTuple):
    """What was seen of one service: counts of incidents (`judged`, `right`, `routine`, `alone`), plans (`rollbacks`,
    `unsafe`) and claims (`unknown`). `days_in_phase` None: it has not seen an incident yet."""

    days_in_phase: float | None
    judged: int
    right: int
    rollbacks: int
    unsafe: int
    unknown: int
    routine: int
    alone: int


def criteria(seen: Track, terms: PhaseTerms) -> tuple[RolloutCriterion, ...]:
    """Every criterion, met or not."""
    asked = [
        _least(PhaseAsks.DAYS_IN_PHASE, seen.days_in_phase, terms.days_in_phase),
        _least(PhaseAsks.JUDGED, seen.judged, terms.judged),
        _least(PhaseAsks.ACCURACY, _share(seen.right, seen.judged), terms.accuracy),
        _none(PhaseAsks.ROLLBACKS, seen.rollbacks),
        _none(PhaseAsks.UNSAFE, seen.unsafe),
        _none(PhaseAsks.UNKNOWN_EFFECTS, seen.unknown),
    ]
    if terms.routine_pages:
        asked.append(_least(PhaseAsks.ROUTINE_PAGES, seen.routine, terms.routine_pages))
        asked.append(_least(PhaseAsks.CLOSED_ALONE, _share(seen.alone, seen.routine), terms.closed_alone))
    return tuple(asked)


def missing(found: tuple[RolloutCriterion, ...]) -> tuple[RolloutCriterion, ...]:
    return tuple(each for each in found if not each.met)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _least(name: PhaseAsks, observed: float | None, required: float) -> RolloutCriterion:
    met = observed is not None and observed >= required
    return RolloutCriterion(name=name, met=met, observed=observed, required=required)


def _none(name: PhaseAsks, count: int) -> RolloutCriterion:
    return RolloutCriterion(name=name, met=count == 0, observed=count, required=0)
