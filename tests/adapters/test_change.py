"""Undo and release arithmetic: exact at both ends, joined in between, and never past either end."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.adapters.change import compare, given_back, inverse, partial, same, sendable, still_ours
from watchkeeper.adapters.contract import Happened
from watchkeeper.core.actions import Change, FieldChange, FieldState, Intent, Target, TargetState
from watchkeeper.core.model import Scalar

TARGET = Target(adapter="litellm:main", kind="key", id="0" * 64)

whole = st.integers(min_value=0, max_value=2**31 - 1)
real = st.floats(min_value=0, max_value=1e9, allow_nan=False)
scalars = st.one_of(st.none(), st.booleans(), whole, real, st.text(max_size=5))
factors = st.floats(min_value=0, max_value=1, allow_nan=False)
fields = st.builds(FieldChange, path=st.sampled_from(["a", "b", "c"]), before=scalars, after=scalars)
changes = st.lists(fields, min_size=1, max_size=3, unique_by=lambda one: one.path).map(
    lambda found: Change(target=TARGET, intent=Intent.THROTTLE, fields=tuple(found))
)


def field(before: Scalar, after: Scalar) -> FieldChange:
    return FieldChange(path="rpm_limit", before=before, after=after)


def state(values: dict[str, Scalar], *, exists: bool = True) -> TargetState:
    found = tuple(FieldState(path=path, value=value) for path, value in values.items())
    return TargetState(target=TARGET, exists=exists, at=datetime(2026, 1, 1, tzinfo=UTC), fields=found)


@given(changes)
def test_invariant_5_a_change_given_back_whole_is_its_inverse(change: Change) -> None:
    assert partial(change, 0.0, 1.0) == inverse(change)
    assert inverse(inverse(change)) == change


@given(changes, factors, factors, factors)
def test_release_steps_join(change: Change, one: float, two: float, three: float) -> None:
    first, second = partial(change, one, two), partial(change, two, three)
    assert [f.after for f in first.fields] == [f.before for f in second.fields]


@given(changes, factors)
def test_a_relapse_takes_back_what_was_given(change: Change, factor: float) -> None:
    assert [f.after for f in partial(change, factor, 0.0).fields] == [f.after for f in change.fields]


@given(st.one_of(whole, real), st.one_of(whole, real), factors, factors)
def test_a_limit_given_back_stays_between_ours_and_the_former(
    before: float, after: float, one: float, two: float
) -> None:
    low, high = sorted((one, two))
    early, late = given_back(field(before, after), low), given_back(field(before, after), high)
    assert isinstance(early, int | float)
    assert isinstance(late, int | float)
    slack = 1e-6 * max(1.0, before, after)
    assert min(before, after) - slack <= early <= max(before, after) + slack
    assert (early <= late + slack) if before >= after else (early >= late - slack)
    if isinstance(before, int) and isinstance(after, int):
        assert isinstance(early, int)


@given(whole, factors.filter(lambda factor: 0 < factor < 1))
def test_against_unlimited_ours_grows_as_one_over_the_rest(ours: int, factor: float) -> None:
    value = given_back(field(None, ours), factor)
    assert isinstance(value, int)
    assert ours <= value
    assert value == math.ceil(round(ours / (1 - factor), 9))


@pytest.mark.parametrize(
    ("before", "after", "factor", "expected"),
    [
        (100, 10, 0.25, 33),
        (100, 10, 0.5, 55),
        (None, 10, 0.5, 20),
        (None, 10, 0.9, 100),
        (None, 10, 1.0, None),
        (1, 0.0, 0.25, 0.25),
        (None, 1.5, 0.5, 3.0),
        (False, True, 0.99, True),
        (False, True, 1.0, False),
        ("a,b", "b", 0.5, "b"),
        (5, None, 0.5, None),
    ],
)
def test_examples(before: Scalar, after: Scalar, factor: float, expected: Scalar) -> None:
    value = given_back(field(before, after), factor)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize("factor", [-0.1, 1.1])
def test_a_factor_outside_is_refused(factor: float) -> None:
    change = Change(target=TARGET, intent=Intent.THROTTLE, fields=(field(1, 2),))
    with pytest.raises(ValueError, match="between 0 and 1"):
        partial(change, 0.0, factor)


def test_a_flag_is_never_a_number() -> None:
    assert not same(True, 1)
    assert same(1, 1.0)
    assert not same(None, 0)
    assert not same(False, None)


@given(real)
def test_a_float_that_lost_its_last_digits_at_the_target_is_still_ours(value: float) -> None:
    for digits in (15, 16):
        kept = float(f"{value:.{digits}g}")
        assert same(value, kept)
        assert same(kept, value)


def test_numbers_that_differ_are_not_the_same() -> None:
    assert not same(28.2230295, 28.2230296)
    assert not same(0.0, 1e-12)
    assert not same(2**53, 2**53 - 1)


def test_only_what_differs_is_sent() -> None:
    change = Change(
        target=TARGET,
        intent=Intent.THROTTLE,
        fields=(FieldChange(path="a", before=1, after=1.0), FieldChange(path="b", before=1, after=2)),
    )
    assert [f.path for f in sendable(change)] == ["b"]


@pytest.mark.parametrize(
    ("values", "happened"),
    [
        ({"a": 5, "b": 7}, Happened.YES),
        ({"a": 1, "b": 2}, Happened.NO),
        ({"a": 5, "b": 2}, Happened.PARTLY),
        ({"a": 5, "b": 9}, Happened.CHANGED),
        ({"a": 5}, Happened.CHANGED),
    ],
)
def test_compare(values: dict[str, Scalar], happened: Happened) -> None:
    change = Change(
        target=TARGET,
        intent=Intent.THROTTLE,
        fields=(FieldChange(path="a", before=1, after=5), FieldChange(path="b", before=2, after=7)),
    )
    assert compare(change, state(values)) is happened
    assert compare(change, state(values, exists=False)) is Happened.CHANGED
    assert still_ours(change, state(values)) is (happened is Happened.YES)
