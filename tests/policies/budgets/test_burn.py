"""The arithmetic of error budgets, as the SRE workbook has it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from watchkeeper.policies.budgets.burn import Sums, burn_rate, remaining

targets = st.floats(0.5, 0.9999)
counts = st.floats(0, 1e6, allow_nan=False)


@pytest.mark.parametrize(
    ("bad", "total", "target", "rate"),
    [(1, 1000, 0.999, 1.0), (14.4, 1000, 0.999, 14.4), (0, 1000, 0.99, 0.0), (0, 0, 0.99, 0.0), (10, 10, 0.9, 10.0)],
)
def test_a_rate_of_one_spends_the_budget_in_just_the_period(
    bad: float, total: float, target: float, rate: float
) -> None:
    assert burn_rate(Sums(bad, total, 12), target, 12) == pytest.approx(rate)


def test_what_was_not_watched_has_no_rate_and_no_remainder() -> None:
    assert burn_rate(Sums(0, 100, 10), 0.99, 12) is None
    assert burn_rate(Sums(0, 100, 11), 0.99, 12) == 0.0
    assert remaining(Sums(0, 100, 863), 0.99, 8640) is None
    assert remaining(Sums(0, 100, 864), 0.99, 8640) == 1.0


@given(counts, counts, counts, targets)
@example(0.0, 0.0, 5e-324, 0.5)
def test_more_bad_events_never_leave_more(bad: float, more: float, good: float, target: float) -> None:
    total = bad + more + good
    few, many = Sums(bad, total, 1), Sums(bad + more, total, 1)
    rates = [burn_rate(each, target, 1) or 0.0 for each in (few, many)]
    left = [remaining(each, target, 1) for each in (few, many)]
    assert rates[0] <= rates[1] * (1 + 1e-9)
    assert left[0] is not None
    assert left[1] is not None
    assert left[1] <= left[0] + 1e-9 * max(1.0, abs(left[0]))
    assert left[0] <= 1


@given(st.floats(1e-9, 1e6), targets)
def test_a_period_at_rate_one_leaves_nothing(total: float, target: float) -> None:
    sums = Sums(total * (1 - target), total, 1)
    assert burn_rate(sums, target, 1) == pytest.approx(1.0)
    assert remaining(sums, target, 1) == pytest.approx(0.0, abs=1e-9)
