"""How sure a cause is, from the strength of its signs.

Each sign says by itself, with a weight, that its mode is there; how far it is over its limit scales the weight between
60 % (at the limit) and 100 % (four times the limit). Independent signs add up as 1 - product(1 - weight), at most 0.97.
The sum is multiplied by how the cause is known: 1 if it is the symptom itself or the way to it is proven, else 0.6; by
0.9 for sampled traces; and by the share of the trouble that is the cause's, where that is under a half.
The numbers are set by judgement on simulated faults, not fitted to a record of outcomes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from watchkeeper.core.findings import Observation, Sign

WEIGHTS: dict[Sign, float] = {
    Sign.REPEATED_TOOL_CALL: 0.85,
    Sign.CYCLE: 0.8,
    Sign.DEPTH: 0.65,
    Sign.NO_TERMINATION: 0.55,
    Sign.RATE_OVER_BASELINE: 0.85,
    Sign.HTTP_5XX: 0.9,
    Sign.HTTP_429: 0.85,
    Sign.TIMEOUTS: 0.8,
    Sign.GATEWAY_STATE: 0.4,
    Sign.ALERT: 0.3,
    Sign.ALERT_RULE: 0.85,
}
GOOD_ENOUGH = 0.5
"""A cause below this is no answer: the incident is novel."""
MOST = 0.97
UNPROVEN, SAMPLED = 0.6, 0.9
EXPLAINED_BONUS, EXPLAINED_LEFT = 0.3, 0.5
_FULL = math.log(4)


def strength(observations: Iterable[Observation]) -> float:
    """0 for no sign."""
    doubt = 1.0
    for each in observations:
        doubt *= 1 - WEIGHTS.get(each.sign, 0.0) * (0.6 + 0.4 * _excess(each))
    return min(MOST, 1 - doubt)


def _excess(each: Observation) -> float:
    """0 at the limit, 1 from four times the limit; a share cannot be four times a half, so for it 1 is everything."""
    if each.expected <= 0:
        return 1.0
    if each.unit == "share":
        return min(1.0, max(0.0, (each.observed - each.expected) / (1 - each.expected))) if each.expected < 1 else 1.0
    return min(1.0, max(0.0, math.log(max(each.observed, 1e-9) / each.expected) / _FULL))


def known_by(base: float, *, proven: bool, sampled: bool, share: float) -> float:
    factor = 1.0 if proven else UNPROVEN
    if sampled:
        factor *= SAMPLED
    if share < 0.5:
        factor *= 2 * share
    return base * factor


def with_effect(cause: float, effect: float) -> float:
    """A cause that another finding follows from is surer for it."""
    return min(MOST, 1 - (1 - cause) * (1 - EXPLAINED_BONUS * effect))
