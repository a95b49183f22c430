"""Windows, freezes, error budgets, required verification, promotion and rules, one by one: what each asks, how it is
told, and how a mistake in one is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.testbed.decisions import KEY, a_grant, a_limit, a_policy, a_request, an_input

from watchkeeper.core.actions import ActionKind, Intent
from watchkeeper.core.decisions import (
    AgentStanding,
    Autonomy,
    BudgetReading,
    Burn,
    Decision,
    DecisionInput,
    Gate,
    Reason,
    Verdict,
    VerificationFacts,
    ZoneOffset,
)
from watchkeeper.core.errors import PolicyError
from watchkeeper.core.model import labels
from watchkeeper.policies.conditions.when import offsets_at
from watchkeeper.policies.decide import decide
from watchkeeper.policies.load import parse

BERLIN = "Europe/Berlin"
HOURS = {"days": ["mon", "tue", "wed", "thu", "fri"], "start": "09:00", "end": "17:00", "zone": BERLIN}


def at(text: str, *zones: str) -> dict[str, Any]:
    """An instant in UTC, with the offsets that zones had then."""
    instant = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return {"at": instant, "offsets": offsets_at(zones, instant)}


def said(decision: Decision, gate: Gate) -> list[tuple[bool, Reason, str]]:
    return [(each.passed, each.reason, each.node) for each in decision.walk if each.gate is gate]


def under(given: DecisionInput, **spec: Any) -> Decision:
    return decide(a_policy(a_grant(), a_limit(**spec)), given)


@pytest.mark.parametrize(
    ("utc", "open_then"),
    [
        ("2026-01-08T07:59", False),
        ("2026-01-08T08:00", True),
        ("2026-01-08T15:59", True),
        ("2026-01-08T16:00", False),
        ("2026-07-09T07:00", True),  # summer time: an hour earlier in UTC
        ("2026-07-09T15:00", False),
        ("2026-01-10T10:00", False),  # a Saturday
        ("2026-12-25T10:00", False),  # a Friday, and a holiday
    ],
)
def test_a_window_opens_by_its_zones_clock(utc: str, open_then: bool) -> None:
    decision = under(an_input(**at(utc, BERLIN)), windows=[HOURS | {"holidays": ["2026-12-25"]}])
    expected = (True, Reason.PASSED, "limit/l") if open_then else (False, Reason.OUTSIDE_WINDOW, "limit/l")
    assert said(decision, Gate.WINDOW) == [expected]
    assert decision.verdict is (Verdict.ALLOW if open_then else Verdict.DENY)


@pytest.mark.parametrize(
    ("utc", "open_then"),
    [("2026-01-09T21:59", False), ("2026-01-09T22:00", True), ("2026-01-10T05:59", True), ("2026-01-10T06:00", False)],
)
def test_a_window_over_midnight_belongs_to_the_day_on_which_it_starts(utc: str, open_then: bool) -> None:
    night = {"days": ["fri"], "start": "22:00", "end": "06:00", "zone": "UTC"}
    decision = under(an_input(**at(utc, "UTC")), windows=[night])
    assert decision.verdict is (Verdict.ALLOW if open_then else Verdict.DENY)


def test_a_documents_windows_are_alternatives_and_those_of_several_intersect() -> None:
    noon = an_input(**at("2026-01-08T12:00", "UTC"))
    morning = {"start": "06:00", "end": "10:00", "zone": "UTC"}
    day = {"start": "08:00", "end": "20:00", "zone": "UTC"}
    assert under(noon, windows=[morning, day]).verdict is Verdict.ALLOW
    both = decide(a_policy(a_grant(), a_limit("a", windows=[morning]), a_limit("b", windows=[day])), noon)
    assert sorted(said(both, Gate.WINDOW)) == [
        (False, Reason.OUTSIDE_WINDOW, "limit/a"),
        (True, Reason.PASSED, "limit/b"),
    ]
    assert both.verdict is Verdict.DENY


def test_a_zone_whose_clock_is_not_known_is_outside_every_window() -> None:
    whole_day = {"zone": BERLIN}
    asked = an_input(at=datetime(2026, 1, 8, 12, tzinfo=UTC), offsets=())
    assert under(asked, windows=[whole_day], failurePolicy="RequireApproval").verdict is Verdict.REQUIRE_APPROVAL


def test_the_recorded_offset_counts_and_not_todays_rules_of_the_zone() -> None:
    asked = an_input(at=datetime(2026, 1, 8, 3, tzinfo=UTC), offsets=(ZoneOffset(zone=BERLIN, seconds=6 * 3600),))
    assert under(asked, windows=[HOURS]).verdict is Verdict.ALLOW


@given(st.datetimes(datetime(2000, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)))
def test_the_offsets_of_an_instant_are_those_of_the_zones_rules(instant: datetime) -> None:
    from zoneinfo import ZoneInfo

    (offset,) = offsets_at([BERLIN], instant)
    local = instant.astimezone(ZoneInfo(BERLIN)).replace(tzinfo=None)
    assert instant.replace(tzinfo=None) + timedelta(seconds=offset.seconds) == local


@pytest.mark.parametrize(("utc", "frozen"), [("2026-12-19T23:59", False), ("2026-12-20T00:00", True)])
def test_a_freeze_holds_from_its_start(utc: str, frozen: bool) -> None:
    freeze = {"name": "year-end", "start": "2026-12-20T00:00:00Z", "end": "2027-01-03T00:00:00Z"}
    decision = under(an_input(**at(utc)), freezes=[freeze])
    assert decision.verdict is (Verdict.DENY if frozen else Verdict.ALLOW)
    (told,) = [each for each in decision.walk if each.gate is Gate.FREEZE]
    assert (told.reason, told.observed) == ((Reason.FROZEN, "year-end") if frozen else (Reason.PASSED, None))


def burning(remaining: float | None, **rates: float) -> DecisionInput:
    burns = tuple(Burn(window_s=int(name.removeprefix("s")), rate=rate) for name, rate in rates.items())
    return an_input(budgets=(BudgetReading(objective="served", remaining=remaining, burns=burns),))


PAIR = {"rate": 14.4, "long": "1h", "short": "5m"}


@pytest.mark.parametrize(
    ("asked", "read", "reason"),
    [
        ({"minRemaining": 0.2}, burning(0.2), Reason.PASSED),
        ({"minRemaining": 0.2}, burning(0.19), Reason.BUDGET_SPENT),
        ({"minRemaining": 0.2}, burning(None), Reason.BUDGET_SPENT),
        ({"minRemaining": 0.2}, an_input(), Reason.BUDGET_SPENT),
        ({"maxBurn": [PAIR]}, burning(1, s3600=20, s300=20), Reason.BURNS_TOO_FAST),
        ({"maxBurn": [PAIR]}, burning(1, s3600=20, s300=14.4), Reason.PASSED),  # it is over in the short window
        ({"maxBurn": [PAIR]}, burning(1, s3600=20), Reason.BURNS_TOO_FAST),  # the short one was not read
        ({"minBurn": [PAIR]}, burning(1, s3600=20, s300=14.4), Reason.PASSED),
        ({"minBurn": [PAIR]}, burning(1, s3600=20, s300=2), Reason.BURNS_TOO_SLOWLY),
        ({"minBurn": [PAIR, {"rate": 2, "long": "6h", "short": "30m"}]}, burning(1, s21600=3, s1800=2), Reason.PASSED),
        ({"minBurn": [PAIR]}, an_input(), Reason.BURNS_TOO_SLOWLY),
    ],
)
def test_an_error_budget_is_held_to_both_windows(asked: dict[str, Any], read: DecisionInput, reason: Reason) -> None:
    decision = under(read, errorBudgets=[{"objective": "served", **asked}])
    assert [each.reason for each in decision.walk if each.gate is Gate.ERROR_BUDGET] == [reason]
    assert decision.verdict is (Verdict.ALLOW if reason is Reason.PASSED else Verdict.DENY)


def test_a_policy_says_which_clocks_and_budgets_it_has_to_be_told() -> None:
    policy = a_policy(
        a_grant(windows=[HOURS]),
        a_limit(errorBudgets=[{"objective": "served", "maxBurn": [PAIR], "minRemaining": 0.1}]),
    )
    assert policy.zones == (BERLIN,)
    assert policy.objectives == {"served": (300, 3600)}
    assert not policy.asks_promotion


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"minHorizons": 3}, Reason.TOO_FEW_HORIZONS),
        ({"lastHorizon": "10m"}, Reason.VERIFICATION_TOO_SHORT),
        ({"minGuards": 2}, Reason.TOO_FEW_GUARDS),
        ({"minHorizons": 2, "lastHorizon": "5m", "minGuards": 1}, None),
    ],
)
def test_more_verification_than_the_plan_declares_can_be_asked_for(
    asked: dict[str, Any], reason: Reason | None
) -> None:
    declared = an_input(verification=VerificationFacts(horizons=2, last_s=300, guards=1))
    decision = under(declared, requiredVerification=asked)
    assert [each.reason for each in decision.blocking] == ([] if reason is None else [reason])
    assert under(an_input(), requiredVerification=asked).verdict is Verdict.DENY


def standing(
    ceiling: Autonomy = Autonomy.FULL, promoted: Autonomy | None = None, over_budget: bool = False
) -> DecisionInput:
    return an_input(standing=AgentStanding(ceiling=ceiling, promoted=promoted, over_budget=over_budget))


@pytest.mark.parametrize(
    ("ceiling", "verdict"),
    [
        (Autonomy.NONE, Verdict.DENY),
        (Autonomy.SHADOW, Verdict.SHADOW),
        (Autonomy.PROPOSE, Verdict.REQUIRE_APPROVAL),
        (Autonomy.BOUNDED, Verdict.ALLOW),
        (Autonomy.FULL, Verdict.ALLOW),
    ],
)
def test_an_agent_goes_no_further_than_its_ceiling(ceiling: Autonomy, verdict: Verdict) -> None:
    decision = decide(a_policy(a_grant(autonomy="full")), standing(ceiling))
    assert (decision.verdict, decision.autonomy) == (verdict, ceiling)


def test_a_ceiling_of_bounded_does_not_cover_the_irreversible() -> None:
    gone = a_request(kind=ActionKind.IRREVERSIBLE, intent=Intent.RECLAIM_SPACE, undo_captured=False)
    held = standing(Autonomy.BOUNDED).model_copy(update={"requests": (gone,)})
    decision = decide(a_policy(a_grant(autonomy="full")), held)
    assert [each.reason for each in decision.blocking] == [Reason.KIND_NOT_COVERED]


@pytest.mark.parametrize(
    ("asked", "verdict", "autonomy"),
    [
        (an_input(), Verdict.REQUIRE_APPROVAL, Autonomy.PROPOSE),
        (standing(), Verdict.REQUIRE_APPROVAL, Autonomy.PROPOSE),
        (standing(promoted=Autonomy.SHADOW), Verdict.SHADOW, Autonomy.SHADOW),
        (standing(promoted=Autonomy.BOUNDED), Verdict.ALLOW, Autonomy.BOUNDED),
        (standing(promoted=Autonomy.FULL), Verdict.ALLOW, Autonomy.BOUNDED),
    ],
)
def test_where_promotion_is_required_nobody_acts_alone_without_it(
    asked: DecisionInput, verdict: Verdict, autonomy: Autonomy
) -> None:
    decision = decide(a_policy(a_grant(requirePromotion=True)), asked)
    assert (decision.verdict, decision.autonomy) == (verdict, autonomy)


def test_an_agent_that_has_used_up_its_budget_asks() -> None:
    decision = decide(a_policy(a_grant()), standing(over_budget=True))
    assert [each.reason for each in decision.blocking] == [Reason.AGENT_OVER_BUDGET]
    assert decision.verdict is Verdict.REQUIRE_APPROVAL


def ruled(expression: str, action: str = "Deny") -> list[dict[str, str]]:
    return [{"name": "r", "expression": expression, "message": "because", "action": action}]


@pytest.mark.parametrize(
    ("action", "verdict", "reason"),
    [
        ("Deny", Verdict.DENY, Reason.RULE_NOT_MET),
        ("RequireApproval", Verdict.REQUIRE_APPROVAL, Reason.RULE_NOT_MET),
        ("Warn", Verdict.ALLOW, Reason.WARNED),
        ("Audit", Verdict.ALLOW, Reason.AUDITED),
    ],
)
def test_what_follows_a_rule_that_is_not_true(action: str, verdict: Verdict, reason: Reason) -> None:
    decision = under(an_input(confidence=0.4), rules=ruled("confidence > 0.5", action))
    assert decision.verdict is verdict
    assert [each.reason for each in decision.walk if each.gate is Gate.RULE] == [reason]
    assert under(an_input(confidence=0.6), rules=ruled("confidence > 0.5", action)).verdict is Verdict.ALLOW


@pytest.mark.parametrize("expression", ["targetLabels['tier'] == 'free'", "trust > 0.0", "1 / (steps - 1) == 1"])
def test_invariant_6_a_rule_without_an_answer_is_not_true(expression: str) -> None:
    decision = under(an_input(), rules=ruled(expression))
    assert [each.reason for each in decision.blocking] == [Reason.RULE_UNKNOWN]


def test_a_rule_sees_the_request_it_is_about() -> None:
    free = a_request(target=KEY.model_copy(update={"labels": labels(tier="free")}))
    facts = (
        "environment == 'demo' && service == 'chat' && agent == 'remediator/litellm' && intent == 'throttle' && "
        "kind == 'reversible' && targetKind == 'key' && targetId == 'k1' && targetLabels['tier'] == 'free' && "
        "blastCount == 1 && blastPopulation == 3 && steps == 1 && 'cycle' in signs && edgeProven && !novel && "
        "mode == 'runaway_loop' && severity == 'critical' && runningFleet == 0 && runningOnTarget == 0 && "
        "adapter.startsWith('litellm') && runbook.contains('runaway') && confidence >= 0.9"
    )
    assert under(an_input(free), rules=ruled(facts)).verdict is Verdict.ALLOW


def test_a_rules_message_stays_in_the_policy() -> None:
    policy = a_policy(a_grant(), a_limit(rules=ruled("novel")))
    decision = decide(policy, an_input())
    assert "because" not in decision.model_dump_json()
    (told,) = decision.blocking
    assert policy.message(told.node, str(told.observed)) == "because"
    assert policy.message("limit/none", "r") == ""


DOCUMENT = """apiVersion: watchkeeper.dev/v1
kind: Limit
metadata: {name: l}
spec:
  %s
"""


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("rules: [{name: r, expression: confidense > 0.5, message: m}]", "did you mean"),
        ("rules: [{name: r, expression: confidence > 'a', message: m}]", "column 12"),
        ("rules: [{name: r, expression: intent, message: m}]", "true or false"),
        ("rules: [{name: r, expression: 'novel &&', message: m}]", "column"),
        (
            "rules: [{name: r, expression: novel, message: m}, {name: r, expression: edgeProven, message: m}]",
            "two rules",
        ),
        ("windows: [{zone: Europe/Belin}]", "Europe/Berlin"),
        ('windows: [{zone: UTC, start: "9:00"}]', "09:00"),
        ('windows: [{zone: UTC, start: "10:00", end: "10:00"}]', "never opens"),
        ('windows: [{zone: UTC, end: "24:01"}]', "24:00"),
        ("windows: [{zone: UTC, holidays: [2026-02-30]}]", "windows"),
        ("windows: [{zone: UTC, days: [monday]}]", "mon"),
        ("freezes: [{name: f, start: 2026-01-02, end: 2026-01-03}]", "offset"),
        ("freezes: [{name: f, start: 2026-01-02T00:00:00Z, end: 2026-01-01T00:00:00Z}]", "before it starts"),
        ("errorBudgets: [{objective: o}]", "minRemaining"),
        ("errorBudgets: [{objective: o, maxBurn: [{rate: 1, long: 5m, short: 1h}]}]", "shorter"),
        ("errorBudgets: [{objective: o, minRemaining: 1}, {objective: o, minRemaining: 0}]", "twice"),
        ("requiredVerification: {minHorizon: 1}", "minHorizons"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_to_write(line: str, told: str) -> None:
    with pytest.raises(PolicyError) as error:
        parse(DOCUMENT % line, "policies/l.yaml")
    text = f"{error.value.what} {error.value.place}"
    assert told in text, text
    assert "policies/l.yaml:5" in text, text


def test_the_same_condition_in_other_words_is_the_same_version() -> None:
    one = a_limit(windows=[HOURS, {"zone": "UTC"}], rules=ruled("novel"), freezes=[])
    two = a_limit(windows=[{"zone": "UTC"}, HOURS, HOURS], rules=ruled("novel"))
    assert a_policy(one).version == a_policy(two).version
