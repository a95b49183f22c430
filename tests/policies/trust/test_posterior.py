"""The bound that gates read, by its properties."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.policies.trust.posterior import Levels, Tally, borrowed, lower_bound, upper_bound, weight
from watchkeeper.policies.trust.terms import Terms

TERMS = Terms()
NOW = datetime(2026, 7, 1, tzinfo=UTC)
SUMS = st.floats(0, 300) | st.integers(0, 300).map(float)
TALLIES = st.builds(Tally, SUMS, SUMS)
LEVELS = st.builds(Levels, TALLIES, TALLIES, TALLIES)
LEAST = 1e-6
"""Bounds are rounded to this."""


def bound(levels: Levels) -> float:
    found = lower_bound(levels, TERMS)
    assert found is not None
    return found


@given(levels=LEVELS, more=st.floats(1, 50))
def test_the_bound_never_falls_with_a_success(levels: Levels, more: float) -> None:
    better = levels._replace(own=levels.own.plus(Tally(successes=more)))
    before = lower_bound(levels, TERMS)
    assert before is None or bound(better) >= before - LEAST


@given(levels=LEVELS, more=st.floats(1, 50))
def test_the_bound_never_rises_with_a_failure(levels: Levels, more: float) -> None:
    worse = levels._replace(own=levels.own.plus(Tally(failures=more)))
    before = lower_bound(levels, TERMS)
    assert before is None or bound(worse) <= before + LEAST


@given(levels=LEVELS)
def test_the_bound_is_never_above_the_rate_of_what_the_scope_itself_showed(levels: Levels) -> None:
    if levels.own.rate is not None:
        assert bound(levels) <= levels.own.rate


@given(levels=LEVELS)
def test_never_more_than_ten_pseudo_counts_are_borrowed_and_none_where_ten_are_known(levels: Levels) -> None:
    lent = borrowed(levels, TERMS)
    assert lent.n <= max(0.0, TERMS.borrowed - levels.own.n) + 1e-9
    assert min(lent) >= 0
    if levels.own.n >= TERMS.borrowed:
        assert lower_bound(levels, TERMS) == lower_bound(Levels(own=levels.own), TERMS)


@given(elsewhere=TALLIES, siblings=TALLIES)
def test_nothing_but_borrowing_never_reaches_the_floor(elsewhere: Tally, siblings: Tally) -> None:
    found = lower_bound(Levels(siblings=siblings, elsewhere=elsewhere), TERMS)
    assert found is None or found < TERMS.floor


def deviation(tally: Tally) -> float:
    a, b = 1 + tally.successes, 1 + tally.failures
    return sqrt(a * b / ((a + b) ** 2 * (a + b + 1)))


@given(tally=TALLIES, part=st.floats(0.001, 1))
def test_decay_only_widens(tally: Tally, part: float) -> None:
    """What is known of a scope gets less sure with time. (With what is borrowed the mean may move as well.)"""
    aged = Tally(tally.successes * part, tally.failures * part)
    assert deviation(aged) >= deviation(tally) - 1e-12


@given(successes=st.floats(1, 300), part=st.floats(0.001, 1))
def test_a_clean_record_that_ages_is_worth_less(successes: float, part: float) -> None:
    assert bound(Levels(Tally(successes * part))) <= bound(Levels(Tally(successes)))


@pytest.mark.parametrize(("days", "expected"), [(0, 1.0), (180, 0.5), (360, 0.25), (1800, 2**-10), (-5, 1.0)])
def test_after_180_days_an_outcome_counts_for_half(days: int, expected: float) -> None:
    assert weight(NOW - timedelta(days=days), NOW, TERMS) == pytest.approx(expected)


def test_where_nothing_is_kept_there_is_no_bound() -> None:
    assert lower_bound(Levels(), TERMS) is None
    assert upper_bound(Tally(), TERMS) is None


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (Levels(Tally(30, 0)), 0.907885),
        (Levels(Tally(29, 1)), 0.855909),
        (Levels(Tally(28, 2)), 0.810535),
        (Levels(siblings=Tally(200, 0)), 0.761596),
        (Levels(Tally(0, 1), siblings=Tally(200, 0)), 0.0),
        (Levels(elsewhere=Tally(0, 50)), 0.0),
    ],
)
def test_bounds_one_can_look_up(levels: Levels, expected: float) -> None:
    assert lower_bound(levels, TERMS) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize(("clean", "failures"), [(30, 2), (60, 5), (100, 11), (300, 41)])
def test_how_many_failures_lose_the_floor(clean: int, failures: int) -> None:
    """As docs/trust.md says."""
    assert bound(Levels(Tally(clean, failures - 1))) >= TERMS.floor > bound(Levels(Tally(clean, failures)))


@given(tally=TALLIES)
def test_the_upper_bound_is_above_the_rate(tally: Tally) -> None:
    found = upper_bound(tally, TERMS)
    assert found is None or tally.rate is None or tally.rate <= found <= 1 + LEAST


def test_the_environment_borrows_from_the_others_before_it_lends() -> None:
    levels = Levels(siblings=Tally(2, 2), elsewhere=Tally(60, 0))
    assert borrowed(levels, TERMS) == Tally(8, 2)
    assert borrowed(levels._replace(own=Tally(5, 0)), TERMS) == Tally(4, 1)
