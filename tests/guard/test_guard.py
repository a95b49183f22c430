"""The guard of one process: charging, settling, doubt, and what is reported."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from tests.testbed.guardrules import a_call, rule, rules

from watchkeeper_guard.guard import MAX_UNDER_WAY, Guard
from watchkeeper_guard.reports import Line, Outcome, Reports
from watchkeeper_guard.request import Prices, Request
from watchkeeper_guard.rules import Doubt
from watchkeeper_guard.runs import Runs, RunState, StateBusyError
from watchkeeper_guard.shared import SharedRuns

NOW = 1_800_000_000.0
CALL = a_call()


def guarding(*given: dict[str, object], runs: Runs | None = None) -> Guard:
    guard = Guard(runs, clock=lambda: NOW)
    guard.put(rules(*given))
    return guard


def charged(guard: Guard) -> tuple[int, int, int]:
    run = guard.runs.get(CALL.run_key, NOW)
    return run.calls, run.tokens, run.micro_usd


def outcomes(guard: Guard) -> list[tuple[str, Outcome, int]]:
    return [(line.code, line.outcome, tally.count) for line, tally in guard.reports.take()]


BUDGET = rule("budget", per="run", max_tokens=100, max_usd="1")


def test_what_was_expected_is_charged_and_then_corrected() -> None:
    guard = guarding(BUDGET)
    call = a_call(tokens=20, output=20, prices=Prices(1e-6, 1e-6))
    assert guard.enter(call, "a").allowed
    assert guard.enter(call, "b").allowed
    assert charged(guard) == (2, 80, 80)
    assert not guard.enter(call, "c").allowed
    guard.settle("a", 5, 7)
    assert charged(guard) == (2, 45, 47)
    assert guard.enter(call, "c").allowed


def test_a_call_that_failed_is_given_back_and_one_that_is_lost_stays_charged() -> None:
    guard = guarding(BUDGET)
    for ticket in ("failed", "lost", "unpriced"):
        assert guard.enter(a_call(tokens=10, prices=Prices(1e-6, 0)), ticket).allowed
    guard.refund("failed")
    guard.abandon("lost")
    guard.settle("unpriced", 15, None)
    assert charged(guard) == (3, 25, 20)
    for ticket in ("failed", "lost", "unpriced", "never seen"):
        guard.settle(ticket, 1000, 1000)  # a second end of a call is none
    assert (charged(guard), guard.under_way) == ((3, 25, 20), 0)


def test_threads_and_processes_on_one_file_never_overshoot(tmp_path: Path) -> None:
    guards = [guarding(BUDGET, runs=SharedRuns(tmp_path / "runs.bin")) for _ in range(3)]
    let: list[str] = []

    def call_on(guard: Guard, name: int) -> None:
        for number in range(20):
            if guard.enter(a_call(tokens=10, prices=Prices(0, 0)), f"{name}/{number}").allowed:
                let.append(f"{name}/{number}")

    threads = [threading.Thread(target=call_on, args=(guard, name)) for name, guard in enumerate(guards)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    # a lock that was not free in time let a call through in doubt: none of these was charged
    doubted = sum(tally.count for guard in guards for line, tally in guard.reports.take() if line.outcome == "doubted")
    assert 10 <= len(let) <= 10 + doubted
    assert charged(guards[0])[1] == 100


def test_under_way_is_bounded_and_what_falls_out_stays_charged() -> None:
    guard = guarding(rule("iterations", max_calls=MAX_UNDER_WAY * 2))
    for number in range(MAX_UNDER_WAY + 5):
        guard.enter(CALL, str(number))
    assert guard.under_way == MAX_UNDER_WAY


class Busy:
    """Runs that cannot be read."""

    forgotten = 0

    def update(self, key: bytes, now: float, change: object) -> object:
        raise StateBusyError("busy")

    def get(self, key: bytes, now: float) -> RunState:
        raise StateBusyError("busy")


@pytest.mark.parametrize(("on_doubt", "allowed"), [("open", True), ("closed", False)])
def test_runs_that_cannot_be_read_are_a_doubt(on_doubt: str, allowed: bool) -> None:
    guard = guarding(rule("iterations", max_calls=5, on_doubt=on_doubt), runs=Busy())  # type: ignore[arg-type]
    assert guard.enter(CALL, "a").allowed is allowed
    assert outcomes(guard) == [("run_state_unknown", Outcome.DOUBTED if allowed else Outcome.REFUSED, 1)]


def test_a_settlement_that_finds_no_way_in_is_counted() -> None:
    guard = guarding(BUDGET)
    guard.enter(a_call(prices=Prices(0, 0)), "a")
    guard.runs = Busy()  # type: ignore[assignment]
    guard.settle("a", 1, 1)
    assert guard.unsettled == 1


@pytest.mark.parametrize(("on_start", "allowed"), [(Doubt.OPEN, True), (Doubt.CLOSED, False)])
def test_before_any_rules_it_does_as_it_is_set_up(on_start: Doubt, allowed: bool) -> None:
    guard = Guard(on_start=on_start, clock=lambda: NOW)
    verdict = guard.enter(CALL, "a")
    assert verdict.allowed is allowed
    if not allowed:
        assert verdict.refusal is not None
        assert (verdict.refusal.code, verdict.refusal.status) == ("guard_no_rules", 503)
    assert guard.broken(None).allowed is allowed


@pytest.mark.parametrize(
    ("match", "on_doubt", "mode", "call", "allowed"),
    [
        ({}, "closed", "enforce", CALL, False),
        ({}, "open", "enforce", CALL, True),
        ({}, "closed", "audit", CALL, True),
        ({"agent": "another"}, "closed", "enforce", CALL, True),
        ({"agent": "another"}, "closed", "enforce", None, False),  # nobody knows whose call it was
    ],
)
def test_when_judging_fails_the_rules_about_the_call_say_what_then(
    match: dict[str, str], on_doubt: str, mode: str, call: Request | None, allowed: bool
) -> None:
    guard = guarding(rule("iterations", match=match, max_calls=9, on_doubt=on_doubt, mode=mode))
    assert guard.broken(call).allowed is allowed


def test_new_rules_judge_the_next_call() -> None:
    guard = guarding(rule("hold", match={"agent": "agent-1"}, state="paused"))
    assert not guard.enter(CALL, "a").allowed
    guard.put(rules(version=2))
    assert guard.enter(CALL, "b").allowed


def test_refusals_are_gathered_and_bounded() -> None:
    reports = Reports(most=2)
    guard = Guard(clock=lambda: NOW, reports=reports)
    guard.put(
        rules(rule("hold", match={"key": "key-1"}, state="paused"), rule("iterations", max_calls=0, mode="audit"))
    )
    for number in range(5):
        guard.enter(a_call(run="a"), str(number))
    guard.enter(a_call(run="b"), "b")
    taken = reports.take()
    assert [(line.code, line.run, tally.count) for line, tally in taken] == [
        ("key_paused", "a", 5),
        ("run_calls_exceeded", "a", 5),
    ]
    assert (reports.dropped, reports.refused, len(reports)) == (2, 6, 0)
    assert taken[0][0] == Line("hold", "key_paused", Outcome.REFUSED, "m", "key-1", "", "agent-1", "a", "")


def test_a_mark_is_told_only_of_a_call_that_was_made() -> None:
    mark = rule("context", max_input_tokens=1, action="mark")
    assert outcomes_of(mark) == [("context_over_limit", Outcome.MARKED, 1)]
    assert outcomes_of(mark, rule("iterations", max_calls=0)) == [("run_calls_exceeded", Outcome.REFUSED, 1)]


def outcomes_of(*given: dict[str, object]) -> list[tuple[str, Outcome, int]]:
    guard = guarding(*given)
    guard.enter(CALL, "a")
    return outcomes(guard)
