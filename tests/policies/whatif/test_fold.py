"""What a candidate policy would have said, with the state that would have been: rates, cool-downs, conflicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.testbed.decided import T0, varied_export
from tests.testbed.decisions import a_grant, a_limit, a_policy
from tests.testbed.past import SCOPE, Past

from watchkeeper.core.decisions import Gate, Reason, Verdict
from watchkeeper.core.ids import RemedyId
from watchkeeper.core.outcomes import Effect, Recovery
from watchkeeper.core.remedies import RemedyStatus
from watchkeeper.core.subjects import Scope
from watchkeeper.policies.compile import Policy
from watchkeeper.policies.replay.kept import read_policies
from watchkeeper.policies.whatif.ask import Question, what_if
from watchkeeper.policies.whatif.report import Became, Change, GateState, Used, WhatIf

HOURLY = {"rate": {"count": 10, "per": "1h"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "export"


def asked(past: Past, folder: Path, policy: Policy, question: Question | None = None) -> WhatIf:
    return what_if(past.export(folder), policy, question or Question(), lambda done: None)


def verdicts(report: WhatIf) -> dict[str, Verdict]:
    return {each.decision: each.candidate.verdict for each in report.differing}


def state_of(report: WhatIf, decision: str, gate: Gate) -> Used:
    (found,) = [each for each in report.differing if each.decision == decision]
    (state,) = [each for each in found.state if each.gate is gate]
    return state.used


def a_busy_past(policy: Policy) -> Past:
    """Five effects in five minutes and one an hour later; the recorded rates are those of the tables then."""
    past = Past(policy)
    for minute in range(5):
        past.act(past.decide(minute, target=f"k{minute}", rates={3600: minute}))
    past.act(past.decide(62, target="k62", rates={3600: 2}))
    return past


def test_the_policy_that_was_in_force_changes_nothing(folder: Path) -> None:
    policy = a_policy(
        a_grant(caps=HOURLY), a_limit(caps={"cooldown": "10m"}), a_limit("c", caps={"concurrency": {"fleet": 3}})
    )
    report = asked(a_busy_past(policy), folder, policy)
    assert (report.weighed, report.same, report.differing) == (6, 6, ())
    assert {each.gate for each in report.state} == {Gate.RATE, Gate.CONCURRENCY}
    assert all(each.refolded == each.incomplete == 0 for each in report.state)


@pytest.mark.parametrize("seed", range(3))
def test_any_recorded_decision_is_the_same_under_its_own_policy(seed: int, tmp_path: Path) -> None:
    export = varied_export(tmp_path / "varied", 200, seed=seed, documents=25, policies=1)
    kept = read_policies(export)
    (version,) = kept.versions()
    report = what_if(export, kept.load(version), Question(), lambda done: None)
    assert (report.weighed, report.same, report.unreadable) == (200, 200, 0)


def test_a_rate_is_counted_over_what_would_have_been_done(folder: Path) -> None:
    tight = a_policy(a_grant(caps={"rate": {"count": 2, "per": "1h"}}))
    report = asked(a_busy_past(a_policy(a_grant(caps=HOURLY))), folder, tight)
    assert verdicts(report) == {"dec_2": Verdict.DENY, "dec_3": Verdict.DENY, "dec_4": Verdict.DENY}
    assert state_of(report, "dec_2", Gate.RATE) is Used.RECORDED
    assert state_of(report, "dec_3", Gate.RATE) is Used.REFOLDED
    (counted,) = [each for each in report.state if each.gate is Gate.RATE]
    assert (counted.recorded, counted.refolded) == (3, 3)
    assert [(each.became, each.count) for each in report.blocked] == [(Became.RECOVERED, 3)]


def test_a_window_that_was_not_recorded_is_folded_from_the_log(folder: Path) -> None:
    daily = a_policy(a_grant(caps={"rate": {"count": 3, "per": "24h"}}))
    past = a_busy_past(a_policy(a_grant(caps=HOURLY)))
    report = asked(past, folder, daily)
    assert set(verdicts(report)) == {"dec_3", "dec_4", "dec_5"}
    assert state_of(report, "dec_5", Gate.RATE) is Used.REFOLDED


def test_a_log_that_does_not_reach_back_says_so(folder: Path) -> None:
    past = a_busy_past(a_policy(a_grant(caps=HOURLY)))
    past.export(folder)
    entries = folder / "entries.jsonl"
    entries.write_bytes(b"\n" + entries.read_bytes().split(b"\n", 1)[1])
    daily = a_policy(a_grant(caps={"rate": {"count": 3, "per": "24h"}}))
    report = what_if(folder, daily, Question(), lambda done: None)
    assert state_of(report, "dec_4", Gate.RATE) is Used.INCOMPLETE
    (counted,) = [each for each in report.state if each.gate is Gate.RATE]
    assert counted.incomplete == 6


def test_effects_before_the_time_looked_at_count_as_they_were(folder: Path) -> None:
    tight = a_policy(a_grant(caps={"rate": {"count": 2, "per": "1h"}}))
    since = Question(since=T0.replace(minute=4))
    report = asked(a_busy_past(a_policy(a_grant(caps=HOURLY))), folder, tight, since)
    assert report.weighed == 2
    assert verdicts(report) == {"dec_4": Verdict.DENY}
    assert state_of(report, "dec_4", Gate.RATE) is Used.RECORDED


def test_what_is_newly_allowed_is_unobserved_and_starts_a_cool_down(folder: Path) -> None:
    past = Past(a_policy(a_limit()))
    past.decide(0)
    past.decide(5)
    past.decide(30)
    report = asked(
        past, folder, a_policy(a_grant(caps={"cooldown": "10m", "ttl": "1m"}, failurePolicy="RequireApproval"))
    )
    assert verdicts(report) == {"dec_0": Verdict.ALLOW, "dec_1": Verdict.REQUIRE_APPROVAL, "dec_2": Verdict.ALLOW}
    assert {each.became for each in report.differing} == {Became.UNOBSERVED}
    assert (report.wider, report.let_through, report.blocked) == (3, 2, ())
    assert state_of(report, "dec_1", Gate.COOLDOWN) is Used.REFOLDED


def test_what_is_blocked_no_longer_runs(folder: Path) -> None:
    wide = a_policy(a_grant(caps={"concurrency": {"fleet": 1}}))
    past = Past(wide)
    past.act(past.decide(0, confidence=0.2), ends=None, closed=None)
    past.decide(1, running_fleet=1)
    careful = a_policy(a_grant(caps={"concurrency": {"fleet": 1}}, minConfidence=0.5))
    report = asked(past, folder, careful)
    first, second = report.differing
    assert (first.change, first.became) == (Change.NARROWER, Became.RECOVERED)
    assert (second.candidate.verdict, second.became) == (Verdict.ALLOW, Became.UNOBSERVED)
    assert GateState(gate=Gate.CONCURRENCY, used=Used.REFOLDED) in second.state


def test_a_conflict_with_a_plan_that_would_not_have_been_done_is_gone(folder: Path) -> None:
    past = Past(a_policy(a_grant()))
    past.act(past.decide(0, confidence=0.2), ends=None, closed=None)
    past.decide(1, conflicts=(RemedyId("rem_pln_0"),))
    report = asked(past, folder, a_policy(a_grant(minConfidence=0.5)))
    assert verdicts(report) == {"dec_0": Verdict.REQUIRE_APPROVAL, "dec_1": Verdict.ALLOW}
    assert state_of(report, "dec_1", Gate.CONFLICT) is Used.REFOLDED


def test_a_plan_that_would_have_been_done_stands_in_the_way_until_its_time_is_over(folder: Path) -> None:
    past = Past(a_policy(a_grant(minConfidence=0.95)))
    past.decide(0)
    past.act(past.decide(30, confidence=0.99))
    past.act(past.decide(90, confidence=0.99))
    report = asked(past, folder, a_policy(a_grant(caps={"ttl": "1h"})))
    assert verdicts(report)["dec_1"] is Verdict.DENY
    (second,) = [each for each in report.differing if each.decision == "dec_1"]
    assert [each.reason for each in second.candidate.objections] == [Reason.CONFLICT_IN_FORCE]
    assert state_of(report, "dec_1", Gate.CONFLICT) is Used.REFOLDED
    (third,) = [each for each in report.differing if each.decision == "dec_2"]
    assert (third.change, third.candidate.verdict) == (Change.TERMS, Verdict.ALLOW)


@pytest.mark.parametrize(
    ("followed", "became", "rolled_back"),
    [
        ({}, Became.RECOVERED, False),
        ({"recovery": Recovery.NOT_RECOVERED, "ends": RemedyStatus.UNDONE}, Became.NOT_RECOVERED, True),
        ({"recovery": Recovery.INCONCLUSIVE, "ends": RemedyStatus.UNDONE}, Became.INCONCLUSIVE, True),
        ({"recovery": None, "closed": None}, Became.OPEN, False),
        ({"effect": Effect.FAILED, "recovery": None}, Became.FAILED, False),
    ],
)
def test_what_is_blocked_is_told_with_its_verified_outcome(
    followed: dict[str, Any], became: Became, rolled_back: bool, folder: Path
) -> None:
    past = Past(a_policy(a_grant()))
    past.act(past.decide(0), **followed)
    past.decide(1, target="k2")
    report = asked(past, folder, a_policy(a_grant(autonomy="propose")))
    done, never = report.differing
    assert (done.became, done.rolled_back) == (became, rolled_back)
    assert done.resolution == (None if followed.get("closed", "") is None else "recovered")
    assert (never.became, never.change) == (Became.NOT_EXECUTED, Change.NARROWER)
    assert [(each.became, each.count, each.rolled_back) for each in report.blocked] == [(became, 1, int(rolled_back))]


def test_what_a_person_approved_stays_done_when_it_would_be_asked_again(folder: Path) -> None:
    """Other terms of approval: nobody knows whether they would have been met, so the effect stays counted."""
    ask = {"roles": ["approver"], "ttl": "30m"}
    past = Past(a_policy(a_grant(autonomy="propose", approvals=[ask])))
    past.act(past.decide(0))
    report = asked(past, folder, a_policy(a_grant(autonomy="propose", approvals=[{**ask, "quorum": 2}])))
    (found,) = report.differing
    assert (found.change, found.became, report.blocked) == (Change.TERMS, Became.RECOVERED, ())
    assert [each.quorum for each in found.candidate.approvals] == [2]


def test_what_was_approved_and_is_now_allowed_is_observed(folder: Path) -> None:
    past = Past(a_policy(a_grant(autonomy="propose")))
    past.act(past.decide(0), after_s=300)
    past.decide(1, target="k2")
    report = asked(past, folder, a_policy(a_grant()))
    assert [each.became for each in report.differing] == [Became.RECOVERED, Became.UNOBSERVED]
    assert (report.wider, report.let_through) == (2, 1)


def test_only_what_is_wanted_is_told_and_all_of_it_weighs(folder: Path) -> None:
    """The cap counts by service, the fleet does not: a service that is not told of still takes its place."""
    past = Past(a_policy(a_limit()))
    past.decide(0, scope=Scope(environment="demo", service="search"))
    past.decide(1, target="k2")
    fleet = a_policy(a_grant(caps={"concurrency": {"fleet": 1}, "ttl": "1h"}))
    report = asked(past, folder, fleet, Question(services=("demo/chat",)))
    assert (report.weighed, [row.service for row in report.rows]) == (1, [SCOPE.service])
    assert (report.terms, report.wider) == (1, 0)
    until = what_if(folder, fleet, Question(until=T0.replace(minute=1)), lambda done: None)
    assert (until.weighed, until.wider) == (1, 1)


def test_an_entry_that_cannot_be_read_is_counted(folder: Path) -> None:
    past = a_busy_past(a_policy(a_grant(caps=HOURLY)))
    past.export(folder)
    entries = folder / "entries.jsonl"
    entries.write_bytes(entries.read_bytes().replace(b'"edge_proven":true', b'"edge_proven":"?!"', 1))
    report = what_if(folder, past.policy, Question(), lambda done: None)
    assert (report.weighed, report.unreadable) == (5, 1)
