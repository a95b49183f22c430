from __future__ import annotations

from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from watchkeeper.core import yamldoc
from watchkeeper.core.errors import ConfigError, InputError
from watchkeeper.core.model import Contract


class Part(Contract):
    size: int
    colour: Literal["red", "green"] = "red"


class Round(Contract):
    kind: Literal["round"]
    radius: int


class Square(Contract):
    kind: Literal["square"]
    side: int


class Whole(Contract):
    name: str
    parts: tuple[Part, ...] = ()
    by_name: dict[str, Part] = Field(default_factory=dict)
    shape: Annotated[Round | Square, Field(discriminator="kind")] | None = None


def failure(text: str, error: type[InputError] = InputError) -> InputError:
    with pytest.raises(error) as caught:
        yamldoc.validate(text, "a.yaml", Whole, error)
    return caught.value


def test_data_and_lines() -> None:
    (document,) = yamldoc.parse("name: x\nparts:\n  - size: 1\n  - size: 2\n    colour: green\n", "a.yaml")
    assert document.data == {"name": "x", "parts": [{"size": 1}, {"size": 2, "colour": "green"}]}
    assert document.place(("parts", 1, "colour")) == "a.yaml:5"
    assert document.place(("parts", 1, "absent", "deeper")) == "a.yaml:4"
    assert document.validate(Whole).parts[1].colour == "green"


def test_several_documents_know_their_lines() -> None:
    documents = yamldoc.parse("---\nname: a\n---\n# nothing\n---\nname: b\n", "a.yaml")
    assert [document.place(("name",)) for document in documents] == ["a.yaml:2", "a.yaml:6"]
    with pytest.raises(InputError, match="more than one document"):
        yamldoc.parse_one("a: 1\n---\nb: 1\n", "a.yaml")


def test_scalars_are_those_of_yaml_1_2() -> None:
    text = "[on, no, 2026-01-01, 1_000, 0x10, true, ~, '1', 1, -2.5, 1e3, .inf, '']"
    (document,) = yamldoc.parse(text, "a.yaml")
    assert document.data == [
        *("on", "no", "2026-01-01", "1_000", "0x10"),
        *(True, None, "1", 1, -2.5, 1000.0, ".inf", ""),
    ]


def test_an_empty_file_is_an_empty_mapping() -> None:
    assert yamldoc.parse_one("# only a comment\n", "a.yaml").data == {}
    assert failure("").diagnostics() == "a.yaml:1: name: required, but not given"


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("name: x\nname: y\n", 2, "written twice"),
        ("name: &a x\nother: *a\n", 1, "anchors and aliases"),
        ("name: !!python/object:os.system x\n", 1, "tags are not used"),
        ("name: x\n1: y\n", 2, "a key must be text"),
        ("name: x\n? [a]\n: y\n", 2, "a key must be text"),
        ("name: x\n  bad: [\n", 2, "not YAML"),
        ("name: 1e999\n", 1, "out of range"),
        ("[" * 100_000, 1, "nested deeper"),
        ("[" + "1," * 200_001 + "]", 1, "more than 200000 values"),
    ],
)
def test_what_is_refused_names_its_line(text: str, line: int, what: str) -> None:
    error = failure(text, ConfigError)
    assert error.place == f"a.yaml:{line}"
    assert what in str(error)


def test_too_large_and_unprintable_are_refused() -> None:
    assert "larger than" in str(failure("#" * (yamldoc.MAX_CHARS + 1)))
    assert "not YAML" in str(failure("name: a\x00b"))


def test_unknown_key_gets_its_line_and_a_suggestion() -> None:
    error = failure("name: x\nparts:\n  - size: 1\n    color: red\n")
    assert error.diagnostics() == 'a.yaml:4: parts[0].color: unknown key (did you mean "colour"?)'
    nested = failure("name: x\nby_name:\n  one:\n    sise: 1\n    size: 1\n")
    assert nested.diagnostics() == 'a.yaml:4: by_name.one.sise: unknown key (did you mean "size"?)'


def test_members_of_a_union_are_not_part_of_the_path() -> None:
    error = failure("name: x\nshape:\n  kind: round\n  radius: big\n")
    assert error.diagnostics().startswith("a.yaml:4: shape.radius: input should be a valid integer")
    unknown = failure("name: x\nshape:\n  kind: squar\n")
    assert unknown.diagnostics() == "a.yaml:3: shape.kind: must be one of 'round', 'square' (did you mean \"square\"?)"
    untold = failure("name: x\nshape:\n  radius: 1\n")
    assert untold.diagnostics() == "a.yaml:2: shape.kind: required, but not given"


def test_every_problem_is_told_with_its_place() -> None:
    error = failure("name: 5\nparts:\n  - colour: gren\n")
    assert error.diagnostics().splitlines() == [
        "a.yaml:1: name: input should be a valid string (put it in quotes)",
        "a.yaml:3: parts[0].size: required, but not given",
        "a.yaml:3: parts[0].colour: input should be 'red' or 'green' (did you mean \"green\"?)",
    ]
    many = failure("name: x\nparts: [" + ", ".join(["{}"] * 15) + "]\n")
    assert many.diagnostics().splitlines()[-1] == "and 5 more"


def test_errors_do_not_show_values() -> None:
    assert "hunter2" not in failure("name: x\nparts:\n  - size: hunter2\n    colour: hunter2\n").diagnostics()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="ascii", min_codepoint=32)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="ascii", min_codepoint=32)), inner),
    max_leaves=20,
)


@given(json_values)
def test_json_text_is_read_as_json(value: object) -> None:
    import json

    parsed = yamldoc.parse(json.dumps({"root": value}), "a.json")
    assert parsed[0].data == {"root": value}


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a:\n\tb: 1", "no tabs"),
        ("a: [*]", 'quotes: "*"'),
        ("a: *", 'quotes: "*"'),
        ("a: [1, 2\nb: }", "check the brackets"),
    ],
)
def test_what_no_parser_reads_comes_with_what_is_likely_wrong(text: str, hint: str) -> None:
    with pytest.raises(InputError, match="not YAML") as caught:
        yamldoc.parse(text, "a.yaml")
    assert hint in caught.value.next_step
