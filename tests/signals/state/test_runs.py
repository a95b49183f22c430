"""Runs: what is repeated, what goes round, what ended."""

from __future__ import annotations

from tests.testbed.traffic import at, call, span

from watchkeeper.core.signals import Signal, SpanOp
from watchkeeper.core.topology import Topology
from watchkeeper.signals.state import RunView, SignalState, StateConfig
from watchkeeper.signals.state.runs import find_cycle


def view(*signals: Signal) -> RunView:
    state = SignalState(StateConfig(), Topology())
    for signal in signals:
        state.apply(signal, at(100))
    (run,) = state.runs(at(0))
    return run


def tool(number: int, digest: str, name: str = "search") -> Signal:
    return span(f"t{number}", at(number), SpanOp.TOOL, tool=name, digest=digest, took_s=0.1)


def test_repeated_calls_are_those_with_the_same_arguments() -> None:
    run = view(*(tool(n, "same") for n in range(5)), *(tool(n, f"d{n}") for n in range(5, 12)))
    assert (run.repeated, run.tool_calls) == (5, 12)


def test_calls_whose_arguments_are_not_recorded_repeat_nothing() -> None:
    run = view(*(tool(n, "") for n in range(20)))
    assert (run.repeated, run.cycle) == (0, (0, 0))


def test_a_cycle_over_tools_and_agents_is_found_at_the_end_of_the_run() -> None:
    steps = [tool(0, "x"), *(tool(n, "ab"[n % 2], "ab"[n % 2]) for n in range(1, 13))]
    assert view(*steps).cycle == (2, 6)
    handover = (span(f"a{n}", at(n), SpanOp.AGENT, agent=("plan", "write", "check")[n % 3]) for n in range(12))
    assert view(*handover).cycle == (3, 4)


def test_find_cycle_tells_the_longest_covered_end() -> None:
    assert find_cycle(list("xyzabcabcabc")) == (3, 3)
    assert find_cycle(list("aaaaaaaa")) == (0, 0)
    assert find_cycle(list("abcdefgh")) == (0, 0)
    assert find_cycle([]) == (0, 0)


def test_an_ended_root_ends_the_part_and_the_next_turn_starts_anew() -> None:
    turn = [span(f"m{n}", at(n), SpanOp.MODEL, call_id=f"c{n}") for n in range(10)]
    root = span("root", at(10), SpanOp.AGENT, parent=None)
    assert view(*turn, root).terminated
    again = view(*turn, root, span("m11", at(12), SpanOp.MODEL, trace="second", call_id="c11"))
    assert (again.terminated, again.iterations, again.started) == (False, 1, at(11.5))


def test_one_call_told_by_wrapper_and_sdk_is_one_iteration() -> None:
    run = view(
        span("outer", at(3), SpanOp.MODEL, tokens=10),
        span("inner", at(2), SpanOp.MODEL, parent="outer", tokens=10, call_id="c1"),
        span("twin", at(2), SpanOp.MODEL, call_id="c1", tokens=10),
    )
    assert run.iterations == 1


def test_the_key_of_a_run_is_the_one_its_calls_were_made_with_at_the_gateway() -> None:
    run = view(span("m", at(1), SpanOp.MODEL, key="claimed", call_id="c1"), call("c1", at(1), key="real"))
    assert run.key == "real"
