"""The page for whoever serves the guard says what the guard does: its schemas beside its reader and its reports."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from tests.guard.test_document import WRONG
from tests.guard.test_engine_properties import calls, listed
from tests.testbed.guardrules import rules
from tests.testbed.guardserver import RuleJson, document

from watchkeeper_guard.disk import State
from watchkeeper_guard.document import RulesError, parse
from watchkeeper_guard.guard import Guard
from watchkeeper_guard.request import Request
from watchkeeper_guard.stream import Stream

ROOT = Path(__file__).resolve().parents[2]
BEYOND = ("rules[0].limits.max_repeats", "rules[0].limits.max_cycle", "rules[0].until")
"""What the page says in words."""


def schema(name: str) -> Draft202012Validator:
    page = (ROOT / "guard/README.md").read_text(encoding="utf-8")
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
    (found,) = [block for block in blocks if block["$id"] == name]
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found)


RULES, REPORTS = schema("watchkeeper.dev/guard-rules/v1"), schema("watchkeeper.dev/guard-reports/v1")


@given(listed())
def test_what_the_guard_reads_is_what_the_schema_says(given_rules: list[RuleJson]) -> None:
    made = document(1, *given_rules)
    parse(made)
    RULES.validate(made)


@pytest.mark.parametrize(("place", "wrong"), WRONG)
def test_what_the_guard_refuses_the_schema_refuses(place: str, wrong: dict[str, Any]) -> None:
    assert RULES.is_valid(document(1, wrong)) is (place in BEYOND)


@given(st.from_regex(r"[0-9.+\-e_ ]{0,12}", fullmatch=True) | st.text(max_size=4))
def test_amounts_are_read_as_the_schema_says(text: str) -> None:
    made = document(1, {"id": "b", "kind": "budget", "limits": {"per": "run", "max_usd": text}})
    try:
        parse(made)
        read = True
    except RulesError:
        read = False
    assert read is RULES.is_valid(made) or text.endswith("\n")  # `$` of a schema also stands before a last line feed


class Kept:
    """A daemon that takes everything."""

    def __init__(self) -> None:
        self.batches: list[Any] = []

    def report(self, batch: object) -> bool:
        self.batches.append(json.loads(json.dumps(batch)))
        return True


@given(listed(), st.lists(calls(), max_size=5))
def test_what_the_guard_reports_is_what_the_schema_says(given_rules: list[RuleJson], made: list[Request]) -> None:
    guard, daemon = Guard(), Kept()
    guard.put(rules(*given_rules))
    for number, call in enumerate(made):
        guard.enter(call, str(number))
    stream = Stream(guard, State(ROOT), daemon, instance="host/1", stats=dict)  # type: ignore[arg-type]
    while stream.report():
        pass
    for batch in daemon.batches:
        REPORTS.validate(batch)
    assert daemon.batches[0]["rules_version"] == 1


def test_the_example_of_the_page_is_right() -> None:
    page = (ROOT / "docs/guard.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert len(parse(json.loads(example)).rules) == 5
    RULES.validate(json.loads(example))


def test_the_page_names_every_code() -> None:
    page = (ROOT / "docs/guard.md").read_text(encoding="utf-8")
    engine = (ROOT / "guard/src/watchkeeper_guard/engine.py").read_text(encoding="utf-8")
    codes = set(re.findall(r'"([a-z]+_[a-z_]+)"', engine)) - {"max_tokens"}
    assert len(codes) >= 10
    assert [code for code in sorted(codes) if code not in page] == []
