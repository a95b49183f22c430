"""Gates that hold one number of the request against the bounds of the documents: what they measure, made ready.

Most of a walk is this, so it is done without a call per gate: the bounds that meet become bars, and the numbers of a
request are read once. What takes more than a comparison is a question of its own (`builtin`, `bounds`, `conditions`).
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from watchkeeper.core.decisions import ActionRequest, DecisionInput, Gate, Reason, Verdict
from watchkeeper.policies.gates.answers import CORE, NOTHING, ON_FAILURE, Answers, passing
from watchkeeper.policies.meets import Meet
from watchkeeper.policies.terms import Term


class Slot(IntEnum):
    """Where a number stands in what `measured` gives; rates come after these, window by window."""

    CONFIDENCE = 0
    TRUST = 1
    TOUCHED = 2
    SHARE = 3
    SINCE = 4
    ON_TARGET = 5
    FLEET = 6
    HORIZONS = 7
    LAST_HORIZON = 8
    GUARDS = 9


_RATES = len(Slot)


class Scale(NamedTuple):
    """One number of a gate. `at_most`: what is left beyond the bound; None: as the document's `failurePolicy` says.
    `told`: the walk names the bound where it is kept too. `needed`: what is not known is not within."""

    term: Term
    reason: Reason
    slot: Slot | None
    at_most: Verdict | None = None
    told: bool = True
    needed: bool = True


Scales = tuple[Scale, ...]

CONFIDENCE: Scales = (
    Scale(Term.CONFIDENCE, Reason.CONFIDENCE_TOO_LOW, Slot.CONFIDENCE, Verdict.REQUIRE_APPROVAL, told=False),
)
TRUST: Scales = (Scale(Term.TRUST, Reason.TRUST_TOO_LOW, Slot.TRUST, Verdict.REQUIRE_APPROVAL, told=False),)
"""Who does not reach it may still ask a person."""
BLAST_COUNT: Scales = (Scale(Term.BLAST_COUNT, Reason.BLAST_COUNT_EXCEEDED, Slot.TOUCHED),)
BLAST_SHARE: Scales = (Scale(Term.BLAST_SHARE, Reason.BLAST_SHARE_EXCEEDED, Slot.SHARE),)
RATE: Scales = (Scale(Term.RATE, Reason.RATE_EXCEEDED, None, told=False),)
"""Its slot is that of the window. This plan's effects count too."""
COOLDOWN: Scales = (Scale(Term.COOLDOWN, Reason.COOLING_DOWN, Slot.SINCE, needed=False),)
"""A target that was never touched has nothing to cool down from."""
CONCURRENCY: Scales = (
    Scale(Term.PER_TARGET, Reason.TOO_MANY_RUNNING, Slot.ON_TARGET),
    Scale(Term.FLEET, Reason.TOO_MANY_RUNNING, Slot.FLEET),
)
VERIFICATION: Scales = (
    Scale(Term.HORIZONS, Reason.TOO_FEW_HORIZONS, Slot.HORIZONS),
    Scale(Term.LAST_HORIZON, Reason.VERIFICATION_TOO_SHORT, Slot.LAST_HORIZON),
    Scale(Term.GUARDS, Reason.TOO_FEW_GUARDS, Slot.GUARDS),
)


class Bar(NamedTuple):
    """One bound on a scale, as the walk needs it."""

    slot: int
    limit: float
    at_least: bool
    told: float | None
    gate: Gate
    node: str
    reason: Reason
    at_most: Verdict
    unknown: Answers | None
    """What stands in the walk for a number that is not known; None: a failure."""


def bars(gate: Gate, scale: Scale, met: Meet, windows: tuple[str, ...], step: int) -> list[Bar]:
    """The bounds on one scale, in order; none where no document sets one."""
    term, reason, slot, at_most, told, needed = scale
    found: list[Bar] = []
    for key, bound in met.bounds.get(term, ()):
        limit = abs(bound.tightness)
        found.append(
            Bar(
                slot=_RATES + windows.index(key.detail) if slot is None else slot,
                limit=limit,
                at_least=bound.tightness < 0 or at_most is not None,
                told=limit if told else None,
                gate=gate,
                node=bound.node,
                reason=reason,
                at_most=at_most or ON_FAILURE[key.on_failure],
                unknown=None if needed else NOTHING if found else (passing(gate, CORE, step),),
            )
        )
    return found


def measured(given: DecisionInput, request: ActionRequest, windows: tuple[str, ...]) -> list[float | None]:
    """The numbers of a request, by `Slot`, then how many effects each of the windows has seen with this plan's."""
    touched, declared = _touched(given, request), given.verification
    found = [
        given.confidence,
        given.trust_lower_bound,
        float(touched),
        touched / request.blast_population,
        request.seconds_since_last,
        request.running_on_target + 1.0,  # this plan runs too
        given.running_fleet + 1.0,
        None if declared is None else float(declared.horizons),
        None if declared is None else declared.last_s,
        None if declared is None else float(declared.guards),
    ]
    if windows:
        asked = len(given.requests)
        known = {str(rate.window_s): float(rate.count + asked) for rate in given.rates}
        found += [known.get(window) for window in windows]
    return found


def _touched(given: DecisionInput, request: ActionRequest) -> int:
    """Things of this kind that the whole plan touches, so that many small steps are not a way round the cap."""
    if len(given.requests) == 1:
        return request.blast_count
    target = request.target
    counts: dict[str, int] = {}
    for other in given.requests:
        if (other.target.adapter, other.target.kind) == (target.adapter, target.kind):
            counts[other.target.id] = max(counts.get(other.target.id, 0), other.blast_count)
    return sum(counts.values())
