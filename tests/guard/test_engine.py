"""What each kind of rule refuses, and what it lets through."""

from __future__ import annotations

from typing import Any

import pytest
from tests.testbed.guardrules import a_call, rule, rules

from watchkeeper_guard.engine import Verdict, decide
from watchkeeper_guard.request import Prices, Request, Size
from watchkeeper_guard.runs import RunState

NOW = 1_800_000_000.0


def judged(given: dict[str, Any], call: Request, run: RunState | None = None) -> Verdict:
    matching = rules(given).matching(call, NOW)
    return decide(matching, RunState() if run is None and call.runs else run, call)


def code(verdict: Verdict) -> str:
    return "" if verdict.refusal is None else verdict.refusal.code


@pytest.mark.parametrize(
    ("match", "state", "expected"),
    [
        ({"agent": "agent-1"}, "paused", "agent_paused"),
        ({"run": "run-1"}, "stopped", "run_stopped"),
        ({"key": "key-1"}, "stopped", "key_stopped"),
        ({"run": "run-1", "agent": "agent-1"}, "paused", "run_paused"),
        ({"agent": "agent-2"}, "paused", ""),
        ({"agent": "agent-1", "environment": "prod"}, "paused", ""),
    ],
)
def test_a_hold_refuses_what_it_names_and_nothing_else(match: dict[str, str], state: str, expected: str) -> None:
    assert code(judged(rule("hold", match=match, state=state), a_call())) == expected


def test_a_hold_finds_a_call_by_any_of_its_names() -> None:
    held = rule("hold", match={"agent": "alias"}, state="paused")
    assert code(judged(held, a_call(agents=("said-to-be-another", "alias")))) == "agent_paused"


def test_a_rule_is_over_at_its_instant() -> None:
    over = rule("hold", match={"agent": "agent-1"}, state="paused", until="2027-01-15T08:00:00Z")
    assert NOW == 1_800_000_000.0  # which is that instant
    assert code(judged(over, a_call())) == ""
    assert rules(over).matching(a_call(), NOW - 0.001) != []


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (Size(upper=100, estimate=40), ""),
        (Size(upper=101, estimate=40), "count"),
        (Size(upper=101, estimate=40, counted=100), ""),
        (Size(upper=200, estimate=40, counted=101), "context_over_limit"),
        (Size(upper=101, estimate=40, can_count=False), "prompt_uncounted"),
        (Size(upper=10, estimate=4, opaque=1), "prompt_opaque"),
        (Size(upper=900, estimate=4, counted=101, opaque=1), "context_over_limit"),
    ],
)
def test_a_prompt_that_does_not_fit_is_refused_and_one_near_the_limit_is_counted(size: Size, expected: str) -> None:
    verdict = judged(rule("context", max_input_tokens=120, reserve_output=20, on_doubt="closed"), a_call(size=size))
    assert ("count" if verdict.count_to is not None else code(verdict)) == expected
    assert verdict.count_to in (None, 100)


def test_the_models_own_window_and_when_it_is_not_known() -> None:
    of_model = rule("context", max_input_tokens="model", on_doubt="closed")
    assert code(judged(of_model, a_call(tokens=11, window=10))) == "context_over_limit"
    assert code(judged(of_model, a_call(tokens=10, window=10))) == ""
    assert code(judged(of_model, a_call())) == "window_unknown"
    let = judged(rule("context", max_input_tokens="model"), a_call())
    assert (let.allowed, [each.code for each in let.doubts]) == (True, ["window_unknown"])


def test_a_mark_lets_the_call_through_and_says_so() -> None:
    verdict = judged(rule("context", max_input_tokens=5, action="mark"), a_call(tokens=6))
    assert verdict.allowed
    assert [(each.code, each.observed, each.limit) for each in verdict.marks] == [("context_over_limit", 6, 5)]


def test_audit_refuses_nothing_and_tells() -> None:
    verdict = judged(rule("iterations", max_calls=0, mode="audit"), a_call())
    assert (verdict.allowed, [each.code for each in verdict.audited]) == (True, ["run_calls_exceeded"])


def test_a_run_has_so_many_calls() -> None:
    capped = rule("iterations", max_calls=3)
    assert code(judged(capped, a_call(), RunState(calls=2))) == ""
    assert code(judged(capped, a_call(), RunState(calls=3))) == "run_calls_exceeded"


@pytest.mark.parametrize(("on_doubt", "expected"), [("open", ""), ("closed", "run_unknown")])
def test_without_a_run_a_rule_about_runs_is_in_doubt(on_doubt: str, expected: str) -> None:
    for about_runs in (
        rule("iterations", max_calls=9, on_doubt=on_doubt),
        rule("loop", max_repeats=2, on_doubt=on_doubt),
    ):
        assert code(judged(about_runs, a_call(run=""))) == expected


def test_what_is_known_of_a_run_and_cannot_be_read_is_a_doubt_that_may_be_tried_again() -> None:
    call = a_call()
    verdict = decide(rules(rule("iterations", max_calls=9, on_doubt="closed")).rules, None, call)
    assert verdict.refusal is not None
    assert (verdict.refusal.code, verdict.refusal.status) == ("run_state_unknown", 503)


@pytest.mark.parametrize(
    ("history", "next_one", "expected"),
    [
        ((1, 1), 1, ""),
        ((1, 1, 1), 1, "run_repeats_itself"),
        ((1, 1, 1, 2, 2, 3, 2, 3), 1, ""),  # three times, but not among the last six
        ((1, 2, 1, 2), 1, "run_in_cycle"),
        ((1, 2, 1), 2, ""),
        ((1, 2, 3, 1, 2, 3), 1, "run_in_cycle"),
        ((1, 2, 3, 1, 2, 3), 4, ""),
        ((1, 2, 3, 4, 1, 2, 3, 4), 1, ""),  # longer than max_cycle
        ((1, 1, 1), 0, ""),
    ],
)
def test_a_run_that_turns_in_circles_is_cut(history: tuple[int, ...], next_one: int, expected: str) -> None:
    looping = rule("loop", max_repeats=3, window=6, max_cycle=3, max_cycle_repeats=2)
    run = RunState(calls=len(history), history=history)
    assert code(judged(looping, a_call(fingerprint=next_one), run)) == expected


@pytest.mark.parametrize(
    ("limits", "call", "spent", "expected"),
    [
        ({"per": "request", "max_tokens": 20}, a_call(tokens=10, output=10), RunState(), ""),
        ({"per": "request", "max_tokens": 20}, a_call(tokens=10, output=11), RunState(), "request_budget_exceeded"),
        ({"per": "request", "max_tokens": 20}, a_call(tokens=10, output=None), RunState(), "request_budget_exceeded"),
        ({"per": "request", "max_tokens": 20, "assume_output": 10}, a_call(output=None), RunState(), ""),
        ({"per": "run", "max_tokens": 100}, a_call(tokens=10), RunState(tokens=90), ""),
        ({"per": "run", "max_tokens": 100}, a_call(tokens=11), RunState(tokens=90), "run_budget_exceeded"),
        ({"per": "run", "max_usd": "0.01"}, a_call(), RunState(), "price_unknown"),
    ],
)
def test_a_budget_of_tokens(limits: dict[str, Any], call: Request, spent: RunState, expected: str) -> None:
    assert code(judged(rule("budget", on_doubt="closed", **limits), call, spent)) == expected


def test_a_budget_of_money_counts_prompt_and_answer_at_their_prices() -> None:
    budget = rule("budget", per="run", max_usd="0.01")
    call = a_call(tokens=1000, output=2000, prices=Prices(2e-6, 4e-6))  # exactly 0.01 USD
    verdict = judged(budget, call)
    assert (code(verdict), verdict.tokens, verdict.micro_usd) == ("", 3000, 10_000)
    assert code(judged(budget, call, RunState(calls=1, micro_usd=1))) == "run_budget_exceeded"


def test_a_hold_is_told_before_anything_else_and_needs_no_counting() -> None:
    both = rules(
        rule("context", max_input_tokens=1),
        rule("iterations", max_calls=0),
        rule("hold", match={"agent": "agent-1"}, state="paused"),
    )
    call = a_call(size=Size(upper=9, estimate=9))
    assert code(decide(both.matching(call, NOW), RunState(), call)) == "agent_paused"
