"""The baseline learns what is normal, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.agents.detector.baseline import Line, learn

LINE = Line(ratio=3, deviations=6, floor=0.1)
rates = st.lists(st.floats(1.0, 2.0), min_size=10, max_size=40)


def clean(*values: float) -> list[tuple[float, bool]]:
    return [(value, False) for value in values]


@given(normal=rates, excess=st.lists(st.floats(20, 1e6), max_size=200))
def test_an_excess_however_long_teaches_nothing(normal: list[float], excess: list[float]) -> None:
    assert learn(clean(*normal, *excess), LINE, 5, 500) == learn(clean(*normal), LINE, 5, 500)


@given(normal=rates, remedied=st.lists(st.floats(0, 1e6), max_size=50))
def test_invariant_12_steps_under_a_remedy_teach_nothing(normal: list[float], remedied: list[float]) -> None:
    mixed = [*clean(*normal), *((rate, True) for rate in remedied)]
    assert learn(mixed, LINE, 5, 500) == learn(clean(*normal), LINE, 5, 500)


def test_the_latest_clean_steps_count() -> None:
    baseline = learn(clean(*[1.0] * 50, *[2.0] * 10), LINE, 5, 10)
    assert (baseline.median, baseline.known) == (2.0, 10)


def test_each_part_of_the_line_can_be_the_one_that_decides() -> None:
    steady = learn(clean(*[1.0] * 20), LINE, 5, 50)
    assert steady.limit(LINE) == 3.0
    assert steady.limit(Line(ratio=3, deviations=6, floor=5)) == 6.0
    rough = learn(clean(*[1.0, 2.0] * 20), LINE, 5, 50)
    assert rough.limit(LINE) > 4.5


def test_no_history_knows_nothing() -> None:
    assert learn([], LINE, 5, 50).known == 0
