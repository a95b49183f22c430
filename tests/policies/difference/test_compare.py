"""What is told of two policies is true of what they decide."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from tests.policies.test_invariants import documents, inputs
from tests.testbed.decisions import a_grant, a_limit, a_policy

from watchkeeper.core.actions import Intent
from watchkeeper.core.decisions import DecisionInput
from watchkeeper.policies.decide import decide
from watchkeeper.policies.difference import compare
from watchkeeper.policies.difference.compare import Way, difference
from watchkeeper.policies.difference.places import OTHER
from watchkeeper.policies.gates.answers import WIDTH
from watchkeeper.policies.model import PolicyDocument


@settings(max_examples=40, deadline=None)
@given(documents, documents, inputs)
def test_invariant_6_what_decides_more_widely_is_told_to_grow(
    old: list[PolicyDocument], new: list[PolicyDocument], asked: DecisionInput
) -> None:
    before, after = decide(a_policy(*old), asked), decide(a_policy(*new), asked)
    found = difference(a_policy(*old), a_policy(*new))
    if WIDTH[after.verdict] > WIDTH[before.verdict]:
        assert found.may_grow()
    if WIDTH[after.verdict] < WIDTH[before.verdict]:
        assert not found.complete or any(each.way is not Way.GROWS for each in found.changed)


@settings(max_examples=15, deadline=None)
@given(documents, documents)
def test_what_grows_one_way_shrinks_the_other(old: list[PolicyDocument], new: list[PolicyDocument]) -> None:
    there, back = difference(a_policy(*old), a_policy(*new)), difference(a_policy(*new), a_policy(*old))
    if not there.complete:
        return
    turned = {Way.GROWS: Way.SHRINKS, Way.SHRINKS: Way.GROWS, Way.BOTH: Way.BOTH}
    ways = {place: each.way for each in there.changed for place in each.places}
    assert {place: turned[each.way] for each in back.changed for place in each.places} == ways
    assert (there.added, there.removed, there.edited) == (back.removed, back.added, back.edited)


@settings(max_examples=50, deadline=None)
@given(documents)
def test_a_policy_does_not_differ_from_itself(some: list[PolicyDocument]) -> None:
    assert difference(a_policy(*some), a_policy(*reversed(some))) == ((), (), (), (), True)


@pytest.mark.parametrize(
    ("old", "new", "way", "changes"),
    [
        ({"autonomy": "propose"}, {"autonomy": "bounded"}, Way.GROWS, ["autonomy propose → bounded"]),
        ({"caps": {"maxBlastCount": 2}}, {"caps": {"maxBlastCount": 1}}, Way.SHRINKS, ["things touched at most 2 → 1"]),
        ({"trustFloor": 0.8}, {"trustFloor": 0.9}, Way.SHRINKS, ["trust at least 0.8 → 0.9"]),
        ({"trustFloor": 0.8}, {}, Way.GROWS, ["not asked any more: trust at least 0.8"]),
        (
            {"caps": {"rate": {"count": 5, "per": "1h"}}},
            {"caps": {"rate": {"count": 9, "per": "1h"}}},
            Way.GROWS,
            ["effects in 3600 s at most 5 → 9"],
        ),
        (
            {},
            {"windows": [{"zone": "UTC", "days": ["mon"], "end": "17:00"}]},
            Way.SHRINKS,
            ["asked now: windows mon 00:00-17:00 UTC"],
        ),
        (
            {"rules": [{"name": "sure", "expression": "confidence > 0.5", "message": "m"}]},
            {"requirePromotion": True},
            Way.BOTH,
            ["asked now: promotion by a person", "not asked any more: rule sure"],
        ),
    ],
)
def test_a_change_is_told_in_words(old: dict[str, Any], new: dict[str, Any], way: Way, changes: list[str]) -> None:
    (told,) = difference(a_policy(a_grant(**old)), a_policy(a_grant(**new))).changed
    assert (told.way, list(told.changes)) == (way, changes)
    assert {place.environment for place in told.places} == {"demo"}


def test_a_limit_that_a_tighter_one_covers_changes_nothing() -> None:
    tight, loose = a_limit("tight", caps={"maxBlastCount": 1}), a_limit("loose", caps={"maxBlastCount": 5})
    found = difference(a_policy(a_grant(), tight), a_policy(a_grant(), tight, loose))
    assert (found.added, found.changed) == (("limit/loose",), ())


def test_what_nobody_names_is_looked_at_too() -> None:
    narrow = a_grant(match={"intents": ["throttle"], "services": ["chat"]})
    (told,) = difference(a_policy(narrow), a_policy(a_grant())).changed
    assert told.changes == ("granted: bounded",)
    assert {(place.service, place.intent) for place in told.places} == {
        ("chat", OTHER),
        (OTHER, OTHER),
        (OTHER, Intent.THROTTLE.value),
    }


def test_a_label_counts_by_value_and_by_its_absence() -> None:
    free = a_limit(match={"targetLabels": {"tier": ["free"]}}, autonomy="propose")
    (told,) = difference(a_policy(a_grant()), a_policy(a_grant(), free)).changed
    assert told.changes == ("autonomy bounded → propose",)
    assert {place.labels for place in told.places} == {(), (("tier", "free"),)}


def test_more_than_can_be_looked_at_is_said_and_taken_for_growth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "MAX_PLACES", 3)
    found = difference(a_policy(a_grant(match={"services": list("abcd")})), a_policy(a_grant()))
    assert not found.complete
    assert found.may_grow()
