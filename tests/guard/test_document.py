"""Reading rules: what is right is taken whole, what is wrong is refused with its place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.testbed.guardrules import rule
from tests.testbed.guardserver import document

from watchkeeper.core.canonical import canonical as rfc8785
from watchkeeper_guard.document import RulesError, canonical, digest_of, loads, parse
from watchkeeper_guard.rules import Budget, Context, Doubt, Hold, HoldState, Loop, Mode, Per


def test_every_kind_of_rule_is_read() -> None:
    read = parse(
        document(
            7,
            rule("hold", match={"agent": "a"}, state="stopped", until="2026-12-01T10:00:00+02:00"),
            rule("context", max_input_tokens="model", reserve_output=100, action="mark", on_doubt="closed"),
            rule("budget", per="run", max_usd="0.250001", max_tokens=5, mode="audit"),
            rule("iterations", max_calls=0),
            rule("loop", max_repeats=3, window=10, max_cycle=4),
        )
    )
    hold, context, budget, _, loop = read.rules
    assert read.version == 7
    assert hold.limits == Hold(HoldState.STOPPED)
    assert hold.until is not None
    assert hold.until.isoformat() == "2026-12-01T08:00:00+00:00"
    assert (context.limits, context.on_doubt) == (Context(None, 100, context.limits.action), Doubt.CLOSED)  # type: ignore[union-attr]
    assert (budget.limits, budget.mode) == (Budget(Per.RUN, 5, 250_001), Mode.AUDIT)
    assert loop.limits == Loop(3, 10, 4)


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("rules[0].colour", {**rule("iterations", max_calls=1), "colour": "red"}),
    ("rules[0].limits.max_call", rule("iterations", max_calls=1, max_call=1)),
    ("rules[0].limits.max_calls", rule("iterations", max_calls=-1)),
    ("rules[0].limits.max_calls", rule("iterations", max_calls=True)),
    ("rules[0].limits.max_calls", rule("iterations")),
    ("rules[0].match.tenant", rule("iterations", match={"tenant": "x"}, max_calls=1)),
    ("rules[0].match.agent", rule("iterations", match={"agent": ""}, max_calls=1)),
    ("rules[0].kind", rule("limit", max_calls=1)),
    ("rules[0].mode", rule("iterations", max_calls=1, mode="warn")),
    ("rules[0].on_doubt", rule("iterations", max_calls=1, on_doubt=None)),
    ("rules[0].until", rule("iterations", max_calls=1, until="2026-12-01T10:00:00")),
    ("rules[0].match", rule("hold", state="paused")),
    ("rules[0].limits", rule("budget", per="run")),
    ("rules[0].limits.max_usd", rule("budget", per="run", max_usd=0.5)),
    ("rules[0].limits.max_usd", rule("budget", per="run", max_usd="0.0000001")),
    ("rules[0].limits.max_usd", rule("budget", per="run", max_usd="-1")),
    ("rules[0].limits.max_usd", rule("budget", per="run", max_usd="Infinity")),
    ("rules[0].limits.max_input_tokens", rule("context", max_input_tokens="all")),
    ("rules[0].limits.max_repeats", rule("loop", max_repeats=11, window=10)),
    ("rules[0].limits.max_cycle", rule("loop", max_repeats=1, max_cycle=16, max_cycle_repeats=5)),
]


@pytest.mark.parametrize(("place", "wrong"), WRONG)
def test_what_is_wrong_is_refused_with_its_place(place: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(RulesError) as refused:
        parse(document(1, wrong))
    assert refused.value.place == place


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        ("document", []),
        ("document.apiVersion", {"apiVersion": "watchkeeper.dev/guard-rules/v2", "version": 1, "rules": []}),
        ("document.version", document(0)),
        ("document.also", {**document(1), "also": 1}),
        ("document.rules", {**document(1), "rules": {}}),
        ("rules[1].id", document(1, rule("iterations", max_calls=1), rule("iterations", max_calls=2))),
    ],
)
def test_a_document_that_is_none_is_refused(place: str, wrong: object) -> None:
    with pytest.raises(RulesError) as refused:
        parse(wrong)
    assert refused.value.place == place


def test_a_key_that_is_there_twice_is_refused() -> None:
    with pytest.raises(RulesError, match="twice"):
        loads('{"apiVersion": "watchkeeper.dev/guard-rules/v1", "version": 1, "version": 2, "rules": []}')


def test_the_digest_is_that_of_the_daemons_canonical_form() -> None:
    made = document(1, rule("hold", id="é\u2028\x7f\b", match={"agent": 'a"b\\'}, state="paused"))
    assert canonical(made) == rfc8785(made)
    assert digest_of(json.loads(json.dumps(made))) == digest_of(made)
