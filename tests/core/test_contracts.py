"""The published contracts are documented and frozen field by field; only optional things may be added to them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.testbed.contracts import PAGE, ROOT, SCHEMAS, breaks, page, published, schema_file, schema_of, text_of

from watchkeeper.core.model import Contract

AGAIN = "a contract was changed: read docs/contracts.md, then run `python -m tests.testbed.contracts`"


@pytest.mark.parametrize(("name", "model"), published().items(), ids=list(published()))
def test_a_contract_is_as_it_was_written_down(name: str, model: type[Contract]) -> None:
    written = schema_file(name).read_text(encoding="utf-8")
    assert breaks(json.loads(written), schema_of(model)) == []
    assert written == text_of(schema_of(model)), AGAIN


def test_every_contract_has_its_file_and_no_file_is_left_over() -> None:
    names = published()
    assert {schema_file(name) for name in names} == set(SCHEMAS.glob("*.json"))
    assert len({schema_file(name) for name in names}) == len(names)


def test_every_schema_name_in_the_code_is_published() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in Path(ROOT, "src").rglob("*.py"))
    assert set(re.findall(r'schema_name = "([^"]+)"', source)) - published().keys() == set()


def test_the_page_says_what_the_models_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), AGAIN


class Inner(Contract):
    left: int = 0


def schema(**fields: Any) -> dict[str, Any]:
    """Of a contract with these fields: a type, or a type and its default."""
    given = {name: kind if isinstance(kind, tuple) else (kind, ...) for name, kind in fields.items()}
    made = type("Made", (Contract,), {
        "__annotations__": {name: kind for name, (kind, _) in given.items()},
        **{name: default for name, (_, default) in given.items() if default is not ...},
    })  # fmt: skip
    return schema_of(made)


OLD = schema(a=int, b=(str, "x"), c=(tuple[Inner, ...], ()), d=(int | None, None))


@pytest.mark.parametrize(
    ("new", "told"),
    [
        (schema(a=int, b=(str, "x"), c=(tuple[Inner, ...], ()), d=(int | None, None), e=(int, 0)), []),
        (schema(a=int, b=(str, "x"), c=(tuple[Inner, ...], ()), d=(int | str | None, None)), []),
        (schema(a=int | str, b=(str, "x"), c=(tuple[Inner, ...], ()), d=(int | None, None)), []),
        (schema(a=int, b=(str, "x"), c=(tuple[Inner, ...], ()), d=(int | None, None), e=int), [".e: new"]),
        (schema(b=(str, "x"), c=(tuple[Inner, ...], ()), d=(int | None, None)), [".a: removed"]),
        (schema(a=str, b=(str, "x"), c=(tuple[Inner, ...], ()), d=(int | None, None)), [".a: type"]),
        (schema(a=int, b=(str, "y"), c=(tuple[Inner, ...], ()), d=(int | None, None)), [".b: default"]),
        (schema(a=int, b=str, c=(tuple[Inner, ...], ()), d=(int | None, None)), [".b: default", ".b: got or lost"]),
        (schema(a=int, b=(str, "x"), c=(tuple[int, ...], ()), d=(int | None, None)), [".c[]"]),
        (schema(a=int, b=(str, "x"), c=(tuple[Inner, ...], ()), d=(int, None)), [".d"]),
    ],
)
def test_what_the_rule_of_change_allows(new: dict[str, Any], told: list[str]) -> None:
    found = sorted(breaks(OLD, new))
    assert bool(found) == bool(told)
    for part in told:
        assert any(part in each for each in found), found


@pytest.mark.parametrize(
    ("old", "new", "allowed"),
    [
        ({"enum": ["a", "b"]}, {"enum": ["a", "b", "c"]}, True),
        ({"enum": ["a", "b"]}, {"enum": ["a"]}, False),
        ({"const": "a"}, {"enum": ["a", "b"]}, True),
        ({"enum": ["a", "b"]}, {"anyOf": [{"enum": ["a", "b", "c"]}, {"type": "object"}]}, True),
        ({"enum": ["a", "b"]}, {"anyOf": [{"enum": ["a"]}, {"enum": ["b"]}]}, False),
        ({"type": "string"}, {"type": "string", "maxLength": 9}, False),
        ({"type": "string", "maxLength": 9}, {"type": "string"}, True),
        ({"prefixItems": [{"type": "string"}]}, {"prefixItems": [{"type": "string"}, {"type": "string"}]}, False),
    ],
)
def test_values_may_be_added_and_bounds_dropped(old: dict[str, Any], new: dict[str, Any], allowed: bool) -> None:
    assert (not breaks(old, new)) == allowed
