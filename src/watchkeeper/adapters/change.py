"""Pure arithmetic on changes: the way back, the part of the way back, and whether what we did still stands.

A factor says how much has been given back: 0 is our value, 1 exactly the former one. Values between are a pure function
of the change and the factor, so a release step's `before` is what the step before it wrote.
It does NOT know what a field means: a limit that was unlimited is taken to be `None`.
"""

from __future__ import annotations

import math
from typing import TypeGuard

from watchkeeper.adapters.contract import Happened
from watchkeeper.core.actions import Change, FieldChange, TargetState
from watchkeeper.core.model import Scalar

KEPT = 1e-14
"""How close a target's float is to the one it was given: LiteLLM keeps sixteen digits of the seventeen it may take."""


def inverse(change: Change) -> Change:
    """The captured undo: every field from our value back to the former one."""
    return change.inverse()


def partial(change: Change, current_factor: float, to_factor: float) -> Change:
    """The change from what `current_factor` left to what `to_factor` means: a release step, or, towards 0, the
    re-application after a relapse."""
    for factor in (current_factor, to_factor):
        if not 0 <= factor <= 1:
            raise ValueError(f"a factor is between 0 and 1, not {factor}")
    fields = tuple(
        FieldChange(path=f.path, before=given_back(f, current_factor), after=given_back(f, to_factor))
        for f in change.fields
    )
    return Change(target=change.target, intent=change.intent, fields=fields)


def given_back(field: FieldChange, factor: float) -> Scalar:
    """The field's value when `factor` of the change is given back.

    Numbers go linearly from ours to the former value; against a former "unlimited" ours grows as ours/(1-f). Integers
    are rounded up. What is not a number (a flag, a list) stays ours until it is given back whole.
    """
    ours, former = field.after, field.before
    if factor <= 0:
        return ours
    if factor >= 1:
        return former
    if not _number(ours):
        return ours
    if former is None:
        return _like(ours, None, ours / (1 - factor))
    if not _number(former):
        return ours
    return _like(ours, former, ours + (former - ours) * factor)


def _number(value: Scalar) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _like(ours: float, former: float | None, value: float) -> int | float:
    whole = isinstance(ours, int) and (former is None or isinstance(former, int))
    # 10/(1-0.9) is 100.00000000000001: without this the step would be one more than a person expects
    return math.ceil(round(value, 9)) if whole else value


def sendable(change: Change) -> tuple[FieldChange, ...]:
    """The fields that differ: what a call must carry."""
    return tuple(f for f in change.fields if not same(f.before, f.after))


def same(one: Scalar, other: Scalar) -> bool:
    """Equal as the target sees it: 1 is 1.0, a flag is never a number, and the last digit of a float may be lost."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if _number(one) and _number(other) and (isinstance(one, float) or isinstance(other, float)):
        return math.isclose(one, other, rel_tol=KEPT, abs_tol=0)
    return one == other


def still_ours(change: Change, state: TargetState) -> bool:
    """Whether every field holds our value: only then may undo or release touch the target."""
    return state.exists and all(same(state.value(f.path), f.after) for f in change.fields)


def still_before(change: Change, state: TargetState) -> bool:
    """Whether every field holds the value that the change starts from."""
    return state.exists and all(same(state.value(f.path), f.before) for f in change.fields)


def compare(change: Change, state: TargetState) -> Happened:
    """Whether `state` is the one after the change, the one before it, or neither."""
    if not state.exists:
        return Happened.CHANGED
    if still_ours(change, state):
        return Happened.YES
    if still_before(change, state):
        return Happened.NO
    known = all(same(state.value(f.path), f.after) or same(state.value(f.path), f.before) for f in change.fields)
    return Happened.PARTLY if known else Happened.CHANGED


def moved(change: Change, state: TargetState) -> Happened:
    """As `compare`, for what is not undone: `after` None stands for any value but the former one, and a target that is
    gone has none."""
    done = [
        not same(value, f.before) if f.after is None else same(value, f.after)
        for f, value in ((f, state.value(f.path)) for f in change.fields)
    ]
    if all(done):
        return Happened.YES
    if not state.exists:
        return Happened.CHANGED
    if any(done):
        return Happened.PARTLY
    return Happened.NO if still_before(change, state) else Happened.CHANGED
