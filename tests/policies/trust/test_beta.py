"""Beta quantiles against values known in another way: closed forms, and the binomial sum in exact fractions."""

from __future__ import annotations

from fractions import Fraction
from math import asin, comb, pi, sin, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.policies.trust.beta import cdf, quantile

LEVELS = st.floats(0.001, 0.999)
SIZES = st.floats(1, 100_000)


def by_counting(x: float, a: int, b: int) -> float:
    """The chance of at least `a` successes in `a + b - 1` trials of chance `x`, which is the same function."""
    chance, n = Fraction(x), a + b - 1
    return float(sum(comb(n, k) * chance**k * (1 - chance) ** (n - k) for k in range(a, n + 1)))


@given(p=LEVELS, a=SIZES)
def test_one_side_of_one_has_a_closed_form(p: float, a: float) -> None:
    assert quantile(p, a, 1) == pytest.approx(p ** (1 / a), abs=1e-9)
    assert quantile(p, 1, a) == pytest.approx(1 - (1 - p) ** (1 / a), abs=1e-9)


@given(p=LEVELS)
def test_two_halves_are_the_arcsine(p: float) -> None:
    assert quantile(p, 0.5, 0.5) == pytest.approx(sin(pi * p / 2) ** 2, abs=1e-9)


@given(x=st.floats(0.001, 0.999))
def test_the_arcsine_is_met_the_other_way_too(x: float) -> None:
    assert cdf(x, 0.5, 0.5) == pytest.approx(2 / pi * asin(sqrt(x)), abs=1e-9)


@given(x=st.floats(0.001, 0.999), a=st.integers(1, 60), b=st.integers(1, 60))
def test_whole_numbers_are_binomial_sums(x: float, a: int, b: int) -> None:
    assert cdf(x, a, b) == pytest.approx(by_counting(x, a, b), abs=1e-12)


@given(p=LEVELS, a=SIZES, b=SIZES)
def test_a_quantile_is_where_its_chance_is_reached(p: float, a: float, b: float) -> None:
    assert cdf(quantile(p, a, b), a, b) == pytest.approx(p, abs=1e-9)


@given(p=LEVELS, a=SIZES, b=SIZES)
def test_what_is_left_over_is_the_other_side(p: float, a: float, b: float) -> None:
    assert quantile(p, a, b) == pytest.approx(1 - quantile(1 - p, b, a), abs=1e-9)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [(31, 1, 0.907885940), (30, 2, 0.855909609), (29, 3, 0.810535533), (96, 6, 0.898731028), (1, 11, 0.004652172)],
)
def test_the_bounds_that_people_meet(a: int, b: int, expected: float) -> None:
    assert by_counting(quantile(0.05, a, b), a, b) == pytest.approx(0.05, abs=1e-12)
    assert quantile(0.05, a, b) == pytest.approx(expected, abs=1e-9)


def test_outside_of_zero_and_one_nothing_is_left_to_say() -> None:
    assert (cdf(-1, 2, 3), cdf(0, 2, 3), cdf(1, 2, 3), cdf(2, 2, 3)) == (0, 0, 1, 1)
