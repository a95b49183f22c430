"""The JSON Schema of policy documents: what it says of the models, that a validator we did not write agrees with the
loader, and that the copy in docs/ is the one that is drawn."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from tests.policies.test_invariants import grants, limits
from tests.policies.trials.documents import EVERYTHING, TEST

from watchkeeper.core.actions import Intent
from watchkeeper.core.decisions import Autonomy
from watchkeeper.core.errors import NotFoundError, PolicyError
from watchkeeper.core.yamldoc import Document, parse
from watchkeeper.policies.model import PolicyDocument
from watchkeeper.policies.schema import DOCUMENTS, schema, text

ROOT = Path(__file__).parents[2]
PACKS = sorted((ROOT / "src/watchkeeper/policies/packs").glob("*.yaml"))
PAGE = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
VALIDATOR = Draft202012Validator(schema())


def written(text: str) -> Iterator[Any]:
    """As our own reader of YAML sees it."""
    return (each.data for each in parse(text, "x.yaml"))


EXAMPLES = [
    *(each for pack in PACKS for each in written(pack.read_text(encoding="utf-8"))),
    *(each for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) for each in written(block)),
    *written(f"{EVERYTHING}---\n{TEST}"),
]


def refused_by_the_loader(data: Any) -> bool:
    kind = data.get("kind") if isinstance(data, dict) else None
    if not isinstance(kind, str) or kind not in DOCUMENTS:
        return True
    try:
        Document("x.yaml", data, {}).validate(DOCUMENTS[kind], PolicyError)
    except PolicyError:
        return True
    return False


def test_the_copy_in_the_docs_is_the_one_that_is_drawn() -> None:
    assert (ROOT / "docs" / "policy.schema.json").read_text(encoding="utf-8") == text()


def test_it_is_a_schema_in_which_every_key_is_known_and_explained() -> None:
    for kind in (None, *DOCUMENTS):
        drawn: dict[str, Any] = schema(kind)
        Draft202012Validator.check_schema(drawn)
        for name, each in drawn["$defs"].items():
            if "properties" in each:
                assert each["additionalProperties"] is False, name
                assert each["description"], name
                assert {key for key, said in each["properties"].items() if not said.get("description")} == set(), name
                assert not [key for key in each["properties"] if "_" in key], name


def test_words_durations_and_defaults_are_as_they_are_written() -> None:
    drawn: dict[str, Any] = json.loads(text())["$defs"]
    spec, match, caps = (drawn[name]["properties"] for name in ("LimitSpec", "GrantMatch", "Caps"))
    assert match["intents"]["items"]["enum"] == ["*", *(intent.value for intent in Intent)]
    assert drawn["Autonomy"]["enum"] == [each.value for each in Autonomy]
    assert spec["failurePolicy"]["default"] == "Deny"
    assert (drawn["Window"]["properties"]["end"]["default"], spec["match"]["default"]) == ("24:00", {})
    duration = re.compile(caps["cooldown"]["anyOf"][0]["pattern"])
    assert [bool(duration.search(each)) for each in ("1h30m", "7d", "500ms", "", "10", "1m1h")] == [True] * 3 + [
        False
    ] * 3
    assert "GrantMatch" not in text("Limit")


def test_a_kind_that_there_is_not_is_told_with_those_that_there_are() -> None:
    with pytest.raises(NotFoundError, match='did you mean "Grant"') as told:
        schema("Grand")
    assert "PolicyTest" in told.value.next_step


@pytest.mark.parametrize("data", EXAMPLES, ids=lambda data: f"{data['kind']}-{data['metadata']['name']}")
def test_what_is_shipped_and_shown_is_valid(data: Any) -> None:
    assert [each.message for each in VALIDATOR.iter_errors(data)] == []
    assert [each.message for each in Draft202012Validator(schema(data["kind"])).iter_errors(data)] == []
    assert not refused_by_the_loader(data)


@given(grants | limits)
def test_whatever_a_document_may_ask_is_valid(document: PolicyDocument) -> None:
    """In the form in which the API gives it back, too."""
    said = document.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    assert VALIDATOR.is_valid(said)
    assert not refused_by_the_loader(said)


@pytest.mark.parametrize("pack", PACKS, ids=lambda pack: pack.stem)
def test_a_pack_tells_an_editor_where_its_schema_is(pack: Path) -> None:
    named = re.search(r"^# yaml-language-server: \$schema=(\S+)$", pack.read_text(encoding="utf-8"), re.MULTILINE)
    assert named is not None
    assert (pack.parent / named[1]).resolve() == ROOT / "docs" / "policy.schema.json"


MISTAKES = {
    "unknown key": ("autonomy: full", "autonmy: full"),
    "unknown key below": ("maxBlastCount: 3", "maxBlastcount: 3"),
    "snake case": ("minConfidence: 0.7", "min_confidence: 0.7"),
    "wrong type": ("maxBlastCount: 3", "maxBlastCount: many"),
    "number as text": ("maxBlastCount: 3", 'maxBlastCount: "3"'),
    "flag as text": ("requirePromotion: true", "requirePromotion: yes"),
    "flag as number": ("requirePromotion: true", "requirePromotion: 1"),
    "a word for a list": ('services: ["*"]', 'services: "*"'),
    "bad word": ("autonomy: full", "autonomy: total"),
    "bad intent": ('intents: ["*"]', "intents: [throtle]"),
    "empty list": ('services: ["*"]', "services: []"),
    "out of range": ("trustFloor: 0.85", "trustFloor: 1.2"),
    "no unit": ("cooldown: 10m", 'cooldown: "10"'),
    "wrong unit": ("cooldown: 10m", "cooldown: 10min"),
    "time of day": ('start: "08:00"', 'start: "8:00"'),
    "instant": ("start: 2026-12-20T00:00:00Z", "start: 2026-12-20"),
    "missing": ("kind: Grant\n", ""),
    "other kind": ("kind: Grant\n", "kind: Grand\n"),
    "a grant's match in a limit": ("kind: Grant\n", "kind: PolicyTest\n"),
    "other version": ("watchkeeper.dev/v1", "watchkeeper.dev/v2"),
    "missing in match": ('    runbooks: ["*"]\n', ""),
    "name": ("metadata: {name: all}", "metadata: {name: All}"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_fails_in_the_editor_and_in_the_loader(name: str) -> None:
    old, new = MISTAKES[name]
    assert EVERYTHING.count(old) == 1
    (data,) = written(EVERYTHING.replace(old, new))
    assert not VALIDATOR.is_valid(data)
    assert refused_by_the_loader(data)


scalars = st.none() | st.booleans() | st.integers(-3, 400) | st.floats(-2, 2) | st.text(max_size=4)
words = st.sampled_from(
    ("*", "Deny", "Warn", "full", "10m", "1h30m", "09:00", "24:00", "throttle", "2026-12-25", "UTC")
)
values = scalars | words | st.lists(scalars | words, max_size=2) | st.dictionaries(words, scalars, max_size=2)


@given(st.data())
def test_what_the_schema_refuses_the_loader_refuses(data: st.DataObject) -> None:
    """Any value in any place of any example, keys that go, keys that come."""
    document = json.loads(json.dumps(data.draw(st.sampled_from(EXAMPLES))))
    for _ in range(data.draw(st.integers(1, 2))):
        here = data.draw(st.sampled_from(list(_containers(document))))
        key = data.draw(st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here))))
        change = data.draw(st.sampled_from(("set", "go", "come")))
        if change == "set":
            here[key] = data.draw(values)
        elif change == "go":
            del here[key]
        elif isinstance(here, dict):
            here[data.draw(words | st.text(max_size=4))] = data.draw(values)
        else:
            here.append(data.draw(values))
    if not VALIDATOR.is_valid(document):
        assert refused_by_the_loader(document), yaml.safe_dump(document)


def _containers(value: Any) -> Iterator[Any]:
    """Every mapping and list that is not empty."""
    if isinstance(value, dict | list) and value:
        yield value
        for each in value.values() if isinstance(value, dict) else value:
            yield from _containers(each)
