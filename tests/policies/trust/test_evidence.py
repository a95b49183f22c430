"""What counts, and what promotion asks for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.core.ids import PlanId
from watchkeeper.core.subjects import Scope
from watchkeeper.core.trust import ROLLED_BACK, Credit, Grounds, Origin
from watchkeeper.policies.trust.criteria import Asked, criteria, missing
from watchkeeper.policies.trust.evidence import Counts, Evidence, Fact, evidence, settled
from watchkeeper.policies.trust.posterior import Tally
from watchkeeper.policies.trust.terms import Terms

TERMS = Terms()
NOW = datetime(2026, 7, 1, tzinfo=UTC)
CHAT = Scope(environment="prod", service="chat")
SEARCH = Scope(environment="prod", service="search")
STAGING = Scope(environment="staging", service="chat")


def fact(
    number: int,
    credit: Credit = Credit.SUCCESS,
    grounds: Grounds = Grounds.RECOVERED,
    *,
    scope: Scope = CHAT,
    origin: Origin = Origin.ALONE,
    days: float = 0,
) -> Fact:
    return Fact(PlanId(f"pln_{number}"), scope, origin, credit, grounds, NOW - timedelta(days=days))


def successes(count: int, first: int = 0, **fields: object) -> list[Fact]:
    return [fact(first + number, **fields) for number in range(count)]  # type: ignore[arg-type]


def failure(number: int, grounds: Grounds = Grounds.NOT_RECOVERED, days: float = 0) -> Fact:
    return fact(number, Credit.FAILURE, grounds, days=days)


def seen(recovered: int, not_recovered: int) -> list[Fact]:
    well = successes(recovered, 1000, origin=Origin.SHADOW)
    return well + [
        each._replace(credit=Credit.FAILURE) for each in successes(not_recovered, 2000, origin=Origin.SHADOW)
    ]


def known(verified: list[Fact], shadow: list[Fact] | None = None) -> Evidence:
    return evidence(verified, shadow or [], CHAT, NOW, TERMS)


FACTS = st.builds(
    fact,
    st.integers(0, 8),
    st.sampled_from(Credit),
    st.sampled_from(Grounds),
    scope=st.sampled_from((CHAT, SEARCH, STAGING)),
    origin=st.sampled_from(Origin),
    days=st.floats(0, 1000),
)


@given(facts=st.lists(FACTS, max_size=30), data=st.data())
def test_the_order_of_outcomes_never_matters(facts: list[Fact], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(facts))
    assert evidence(facts, facts, CHAT, NOW, TERMS) == evidence(shuffled, shuffled, CHAT, NOW, TERMS)


@given(facts=st.lists(FACTS, max_size=30))
def test_what_is_recorded_twice_counts_once(facts: list[Fact]) -> None:
    assert evidence(facts, facts, CHAT, NOW, TERMS) == evidence(facts * 2, facts * 2, CHAT, NOW, TERMS)


def test_a_failure_that_shows_later_takes_the_success_back() -> None:
    was, turned = fact(1, days=3), failure(1, Grounds.RELAPSED, days=1)
    assert settled([was, turned]) == settled([turned, was]) == (turned,)
    assert known([was, turned]).counts == Counts(0, 1, 0)


def test_two_steps_of_a_plan_are_one_trial() -> None:
    assert known([fact(1), fact(1), fact(2)]).counts == Counts(2, 0, 0)
    assert known([fact(1), failure(1)]).counts == Counts(0, 1, 0)


def test_what_counts_and_what_is_kept_apart() -> None:
    found = known(
        [
            fact(1),
            fact(2, origin=Origin.APPROVED),
            fact(3, origin=Origin.EDITED),
            fact(4, origin=Origin.SHADOW),
            fact(5, Credit.NOTHING, Grounds.MOOT),
            fact(6, Credit.NOTHING, Grounds.INCONCLUSIVE),
            fact(7, scope=SEARCH),
            fact(8, scope=STAGING),
            fact(9, scope=STAGING, origin=Origin.EDITED),
        ]
    )
    assert (found.counts, found.approved, found.edited) == (Counts(2, 0, 2), 1, Counts(1, 0, 0))
    assert found.levels == (Tally(2, 0), Tally(1, 0), Tally(1, 0))


def test_shadow_is_counted_by_itself_and_in_this_scope_alone() -> None:
    found = known([], [*seen(3, 1), fact(7, scope=SEARCH, origin=Origin.SHADOW), fact(8)])
    assert (found.untreated_counts, found.untreated, found.counts) == (Counts(3, 1, 0), Tally(3, 1), Counts())


@pytest.mark.parametrize("grounds", Grounds)
@pytest.mark.parametrize(("days", "late"), [(27, True), (29, False)])
def test_a_rollback_is_remembered_for_four_weeks(grounds: Grounds, days: float, late: bool) -> None:
    assert known([failure(1, grounds, days)]).rollbacks == int(late and grounds in ROLLED_BACK)


@pytest.mark.parametrize("grounds", sorted(set(Grounds) - ROLLED_BACK))
@pytest.mark.parametrize("days", [27.5, 40])
def test_what_failed_before_hides_no_rollback(grounds: Grounds, days: float) -> None:
    found = known([failure(1, grounds, days), failure(1, Grounds.UNDONE, 27), failure(1, Grounds.UNSAFE, 26)])
    assert (found.rollbacks, found.counts) == (1, Counts(0, 1, 0))


def figures(found: Evidence) -> dict[Asked, tuple[bool, float | None, float | None]]:
    return {each.name: (each.met, each.observed, each.required) for each in criteria(found, TERMS)}


def test_all_criteria_are_met_by_thirty_good_ones_that_beat_what_heals_by_itself() -> None:
    found = known(successes(30), seen(2, 18))
    assert missing(criteria(found, TERMS)) == ()
    assert figures(found) == {
        Asked.OUTCOMES: (True, 30, 30),
        Asked.RATE: (True, 1.0, 0.95),
        Asked.ROLLBACKS: (True, 0, 0),
        Asked.LOWER_BOUND: (True, 0.907885, 0.85),
        Asked.UNTREATED_SEEN: (True, 20, 10),
        Asked.BEATS_UNTREATED: (True, 0.907885, pytest.approx(0.27, abs=0.02)),
    }


@pytest.mark.parametrize(
    ("verified", "shadow", "left"),
    [
        ([], [], set(Asked) - {Asked.ROLLBACKS}),
        (successes(29), seen(0, 10), {Asked.OUTCOMES}),
        (successes(30), [], {Asked.UNTREATED_SEEN, Asked.BEATS_UNTREATED}),
        (successes(300), seen(5, 4), {Asked.UNTREATED_SEEN}),
        (successes(30), seen(20, 2), {Asked.BEATS_UNTREATED}),
        ([*successes(39), failure(99, days=1)], seen(0, 10), {Asked.ROLLBACKS}),
        ([*successes(39), failure(99, days=40)], seen(0, 10), set()),
        ([*successes(36), failure(98, days=40), failure(99, days=40)], seen(0, 10), {Asked.RATE}),
        ([fact(each, days=700) for each in range(30)], seen(0, 10), {Asked.LOWER_BOUND}),
        (successes(30, scope=SEARCH), seen(0, 10), {Asked.OUTCOMES, Asked.RATE, Asked.LOWER_BOUND}),
        (successes(60, origin=Origin.EDITED), seen(0, 10), {*Asked} - {Asked.ROLLBACKS, Asked.UNTREATED_SEEN}),
    ],
)
def test_what_is_missing_is_named(verified: list[Fact], shadow: list[Fact], left: set[Asked]) -> None:
    assert {each.name for each in missing(criteria(known(verified, shadow), TERMS))} == left
