"""What holds for any rules, any run and any call."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.testbed.guardrules import a_call, rule, rules
from tests.testbed.guardserver import RuleJson

from watchkeeper_guard.engine import decide
from watchkeeper_guard.guard import Guard
from watchkeeper_guard.request import Prices, Request, Size
from watchkeeper_guard.runs import RunState

NOW = 1_800_000_000.0
NAMES = st.sampled_from(["a", "b"])


@st.composite
def limits(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    small = st.integers(0, 60)
    return draw(
        st.one_of(
            st.tuples(st.just("hold"), st.fixed_dictionaries({"state": st.sampled_from(["paused", "stopped"])})),
            st.tuples(
                st.just("context"),
                st.fixed_dictionaries(
                    {
                        "max_input_tokens": st.one_of(st.just("model"), st.integers(1, 60)),
                        "reserve_output": small,
                        "action": st.sampled_from(["refuse", "mark"]),
                    }
                ),
            ),
            st.tuples(
                st.just("budget"),
                st.fixed_dictionaries(
                    {"per": st.sampled_from(["request", "run"]), "max_tokens": small, "assume_output": small},
                    optional={"max_usd": st.sampled_from(["0", "0.00004", "0.1"])},
                ),
            ),
            st.tuples(st.just("iterations"), st.fixed_dictionaries({"max_calls": st.integers(0, 6)})),
            st.tuples(
                st.just("loop"),
                st.fixed_dictionaries({"max_repeats": st.integers(1, 3), "max_cycle": st.integers(0, 4)}),
            ),
        )
    )


@st.composite
def listed(draw: st.DrawFn, modes: tuple[str, ...] = ("enforce", "audit")) -> list[RuleJson]:
    found = []
    for number in range(draw(st.integers(0, 6))):
        kind, limited = draw(limits())
        match = draw(st.dictionaries(st.sampled_from(["agent", "run", "model", "key"]), NAMES, max_size=2))
        own = {
            "mode": draw(st.sampled_from(modes)),
            "on_doubt": draw(st.sampled_from(["open", "closed"])),
        }
        found.append(rule(kind, id=f"r{number}", match=match or {"agent": "a"}, **limited, **own))
    return found


@st.composite
def calls(draw: st.DrawFn) -> Request:
    upper = draw(st.integers(0, 80))
    counted = draw(st.one_of(st.none(), st.integers(0, upper)))
    return Request(
        model=draw(NAMES),
        keys=(draw(NAMES),),
        agents=tuple(draw(st.lists(NAMES, max_size=2, unique=True))),
        runs=tuple(draw(st.lists(NAMES, max_size=2, unique=True))),
        size=Size(upper, draw(st.integers(0, upper)), counted, draw(st.booleans()), draw(st.integers(0, 1))),
        output=draw(st.one_of(st.none(), st.integers(0, 60))),
        fingerprint=draw(st.integers(0, 3)),
        window=draw(st.one_of(st.none(), st.integers(1, 60))),
        prices=draw(st.one_of(st.none(), st.just(Prices(1e-6, 2e-6)))),
    )


@st.composite
def states(draw: st.DrawFn) -> RunState:
    history = tuple(draw(st.lists(st.integers(1, 3), max_size=12)))
    return RunState(len(history), draw(st.integers(0, 80)), draw(st.integers(0, 80)), history, NOW)


@given(listed(), calls(), states(), st.randoms(use_true_random=False))
def test_it_always_answers_and_the_order_of_rules_counts_for_nothing(
    given_rules: list[RuleJson], call: Request, run: RunState, rng: random.Random
) -> None:
    matching = rules(*given_rules).matching(call, NOW)
    shuffled = list(matching)
    rng.shuffle(shuffled)
    assert decide(matching, run, call) == decide(shuffled, run, call) == decide(matching, run, call)


@given(listed(), calls())
def test_looking_rules_up_finds_what_looking_at_each_would(given_rules: list[RuleJson], call: Request) -> None:
    known = rules(*given_rules)
    assert sorted(each.id for each in known.matching(call, NOW)) == [
        each.id for each in known.rules if each.matches(call)
    ]


@given(listed(), listed(), calls(), states())
def test_one_more_rule_never_lets_through_what_was_refused(
    few: list[RuleJson], more: list[RuleJson], call: Request, run: RunState
) -> None:
    more = [{**each, "id": f"more-{each['id']}"} for each in more]
    before = decide(rules(*few).matching(call, NOW), run, call)
    after = decide(rules(*few, *more).matching(call, NOW), run, call)
    assert not (before.refusal is not None and after.allowed)


@given(listed(modes=("audit",)), calls(), states())
def test_audit_refuses_nothing(given_rules: list[RuleJson], call: Request, run: RunState) -> None:
    assert decide(rules(*given_rules).matching(call, NOW), run, call).refusal is None


@given(listed(), calls(), states(), st.integers(0, 80))
def test_a_bound_on_one_call_that_holds_for_the_upper_bound_holds_for_the_truth(
    given_rules: list[RuleJson], call: Request, run: RunState, truth: int
) -> None:
    alone = [each for each in given_rules if not _of_run(each)]
    call = replace(call, size=replace(call.size, counted=None))
    matching = rules(*alone).matching(call, NOW)
    size = call.size
    counted = replace(call, size=replace(size, counted=min(truth, size.upper)))
    before = decide(matching, run, call)
    if before.allowed and not before.doubts and not any("max_usd" in each["limits"] for each in alone):
        assert decide(matching, run, counted).refusal is None


def _of_run(given_rule: RuleJson) -> bool:
    return given_rule["kind"] in ("iterations", "loop") or given_rule["limits"].get("per") == "run"


@given(listed(), calls(), states(), st.integers(0, 200))
def test_once_counted_nothing_is_asked_for_again(
    given_rules: list[RuleJson], call: Request, run: RunState, counted: int
) -> None:
    matching = rules(*given_rules).matching(call, NOW)
    known = replace(call, size=replace(call.size, counted=counted))
    uncountable = replace(call, size=replace(call.size, can_count=False))
    assert decide(matching, run, known).count_to is None
    assert decide(matching, run, uncountable).count_to is None


@given(st.data(), st.integers(0, 120))
def test_calls_of_one_run_at_once_overshoot_by_no_more_than_the_error_of_those_in_flight(
    data: st.DataObject, most: int
) -> None:
    """Whatever the order in which calls begin and end: what was really used exceeds the budget by at most what the
    calls that were under way together used beyond what was expected of them."""
    guard = Guard(clock=lambda: NOW)
    guard.put(rules(rule("budget", per="run", max_tokens=most)))
    open_calls: dict[str, tuple[int, int]] = {}
    used = excess = 0
    # each a call that begins (None), or the place of the one that ends
    for number, ending in enumerate(data.draw(st.lists(st.none() | st.integers(0, 20), max_size=25))):
        if open_calls and ending is not None:
            name = sorted(open_calls)[ending % len(open_calls)]
            expected, real = open_calls.pop(name)
            guard.settle(name, real, None)
            used, excess = used + real, max(excess, 0) + max(0, real - expected)
            continue
        expected = data.draw(st.integers(0, 40))
        if guard.enter(a_call(tokens=expected), str(number)).allowed:
            open_calls[str(number)] = expected, data.draw(st.integers(0, 60))
    in_flight = sum(expected for expected, _ in open_calls.values())
    assert used + in_flight <= most + excess
    charged = guard.runs.get(a_call().run_key, NOW).tokens
    assert charged == used + in_flight


@given(st.integers(0, 12), st.integers(0, 30))
def test_a_run_makes_exactly_its_calls(most: int, tried: int) -> None:
    guard = Guard(clock=lambda: NOW)
    guard.put(rules(rule("iterations", max_calls=most)))
    assert sum(guard.enter(a_call(), str(number)).allowed for number in range(tried)) == min(most, tried)


@given(st.lists(st.integers(1, 4), max_size=60))
def test_under_a_loop_rule_no_window_holds_more_than_its_repeats_and_no_cycle_goes_on(words: list[int]) -> None:
    guard = Guard(clock=lambda: NOW)
    guard.put(rules(rule("loop", max_repeats=3, window=8, max_cycle=3, max_cycle_repeats=2)))
    let = [word for number, word in enumerate(words) if guard.enter(a_call(fingerprint=word), str(number)).allowed]
    for start in range(len(let)):
        window = let[max(0, start - 8) : start]
        assert window.count(let[start]) < 3
    for length in (2, 3):
        for end in range(2 * length + 1, len(let) + 1):
            tail = let[end - 2 * length - 1 : end]
            assert any(tail[n] != tail[n + length] for n in range(len(tail) - length))
