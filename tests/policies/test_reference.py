"""docs/policies.md is the reference: every key of every kind of document stands in one of its tables, with the default
that the models have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from watchkeeper.policies.schema import schema

PAGE = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| ((?:`[\w.\[\]]+`(?:, )?)+) \|([^|\n]*)\|(?:([^|\n]*)\|)?", re.MULTILINE)


def rows(heading: str) -> dict[str, tuple[str, str]]:
    """Type and default of every key in the table that `heading` heads."""
    at = PAGE.index(heading + "\n")
    table = PAGE[at : PAGE.index("\n\n", PAGE.index("|---", at))]
    return {
        key: (match[2].strip(), (match[3] or "").strip())
        for match in ROW.finditer(table)
        for key in match[1].strip("`").split("`, `")
    }


def keys(drawn: dict[str, Any], name: str, before: str = "") -> Iterator[tuple[str, str]]:
    """Every key below a section of the schema, dotted, with its default as the page has it."""
    section = drawn["$defs"][name]
    for key, said in section["properties"].items():
        path = before + key
        inner, many = _section(drawn, said)
        if inner:
            yield from keys(drawn, inner, f"{path}[]." if many else f"{path}.")
        else:
            yield path, "required" if key in section.get("required", ()) else _default(said["default"])


def _section(drawn: dict[str, Any], said: dict[str, Any]) -> tuple[str, bool]:
    """The section that a value is, or whose items it lists."""
    many = said.get("type") == "array"
    options = said["items"] if many else said
    for each in (options, *options.get("anyOf", ())):
        name = each.get("$ref", "").rpartition("/")[2]
        if name and "properties" in drawn["$defs"][name]:
            return name, many
    return "", many


def _default(value: object) -> str:
    if value is None or value in ([], {}, ""):
        return ""
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


@pytest.mark.parametrize(
    ("kind", "section", "heading"),
    [
        ("Limit", "LimitSpec", "### Every field"),
        ("PolicyTest", "TestSpec", "### Every field of a test"),
    ],
)
def test_every_field_is_in_the_reference_with_its_default(kind: str, section: str, heading: str) -> None:
    drawn: dict[str, Any] = schema(kind)
    elsewhere = ("match.", "cases[].given.")
    known = {key: default for key, default in keys(drawn, section) if not key.startswith(elsewhere)}
    told = rows(heading)
    assert {key: default for key, (_, default) in told.items()} == known
    assert all(kind for kind, _ in told.values())


def test_every_dimension_of_a_match_is_in_the_reference() -> None:
    drawn: dict[str, Any] = schema("Limit")
    assert rows("### `match`").keys() == drawn["$defs"]["LimitMatch"]["properties"].keys()
