"""One seeded tampering of every kind, as `make chaos SUITE=tamper` does thousands of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.chaos.suite import Plan
from tests.chaos.tamper_suite import FILES, KINDS, TamperSuite

Run = Callable[[Plan], dict[str, Any]]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    with TamperSuite().opened() as opened:
        yield opened


@pytest.mark.parametrize("kind", sorted({**KINDS, **FILES}))
def test_invariant_8_a_tampering_is_found_and_told_where_it_is(run: Run, kind: str) -> None:
    assert run({"seed": 7, "kind": kind})["found"]


@pytest.mark.parametrize("seed", range(40))
def test_invariant_8_a_value_of_another_type_is_found_in_whichever_column(run: Run, seed: int) -> None:
    assert run({"seed": seed, "kind": "other_type"})["found"]


def test_a_seed_draws_the_same_plan_again_and_every_kind_is_drawn() -> None:
    plans = [TamperSuite().plan(seed) for seed in range(500)]
    assert plans == [TamperSuite().plan(seed) for seed in range(500)]
    assert {plan["kind"] for plan in plans} == {*KINDS, *FILES}
