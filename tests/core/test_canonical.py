"""Canonical JSON: our fast path and rfc8785 are the same bytes, or the same refusal."""

from __future__ import annotations

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from watchkeeper.core.canonical import _quick, canonical, canonical_model
from watchkeeper.core.model import Contract

SAFE = 2**53 - 1
text = st.text(st.characters(codec="utf-8"))
scalars = st.none() | st.booleans() | st.integers(-SAFE, SAFE) | text
documents: st.SearchStrategy[Any] = st.recursive(
    scalars | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(text, inner, max_size=5),
    max_leaves=30,
)
plain_documents: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(st.characters(max_codepoint=127)), inner, max_size=5)
    ),
    max_leaves=30,
)


@given(documents)
def test_canonical_bytes_are_rfc8785_s(value: JsonValue) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@given(plain_documents)
def test_the_fast_path_is_rfc8785_byte_for_byte(value: JsonValue) -> None:
    fast = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert canonical(value) == fast == rfc8785.dumps(value)


anything = st.text(st.characters()) | st.text('":,.0123[]{}\\e+-a')  # half surrogate pairs, and what looks like JSON
numbers = (
    st.floats()
    | st.integers()
    | st.integers(-(10**25), 10**25)
    | st.floats(-1e-3, 1e-3)
    | st.floats(1e15, 1e22)
    | st.integers(-(10**18), 10**18).map(float)
    | st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e16, 1e-4, 1e-5, 1e-6, 1e-7, 1e21, 2.0**53 - 1, 2.0**53])
)
wild: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | anything | numbers,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(anything, inner, max_size=5),
    max_leaves=30,
)


def own_spelling(value: Any) -> Any:
    """An integer that is a double's own spelling is that double (see `canonical`): rfc8785 alone refuses it."""
    match value:
        case bool():
            return value
        case int() if abs(value) > SAFE and abs(value) < 10**21 and rfc8785.dumps(float(value)) == b"%d" % value:
            return float(value)
        case list():
            return [own_spelling(item) for item in value]
        case dict():
            return {key: own_spelling(item) for key, item in value.items()}
    return value


@given(wild)
def test_whatever_comes_gives_rfc8785_s_bytes_or_its_error(value: JsonValue) -> None:
    try:
        expected = rfc8785.dumps(own_spelling(value))
    except ValueError as error:
        with pytest.raises((type(error), UnicodeEncodeError)):
            canonical(value)
    else:
        assert canonical(value) == expected


@given(st.lists(st.floats(1e-4, 1e15, exclude_max=True).filter(lambda number: not number.is_integer())))
def test_ordinary_floats_need_no_second_look(value: list[JsonValue]) -> None:
    assert _quick(value) == rfc8785.dumps(value)


def test_text_that_looks_like_a_number_stays_as_it_is() -> None:
    for text in ('a":1.0,', "a\\", ":1.0,", 'a\\":2.0}', "[3.0]"):
        assert canonical({text: [text, text], "a": 1.0, "b": text}) == rfc8785.dumps(
            {text: [text, text], "a": 1.0, "b": text}
        )
    value: JsonValue = {"a:1.0,": [",1e+21]", ":12345678901234567890", 1.0], "[-0.0]": "\U0001f600"}
    assert canonical(value) == rfc8785.dumps(value)


@given(documents)
def test_canonical_bytes_are_a_fixed_point(value: JsonValue) -> None:
    """What was canonical stays so after reading: an entry re-serialises to the bytes that were hashed."""
    once = canonical(value)
    assert canonical(json.loads(once)) == once


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"b": 1, "a": [True, None, 1.0]}, b'{"a":[true,null,1],"b":1}'),
        ({"\u20ac": 1, "\r": 2, "\U0001f600": 3, "\ufb33": 4}, '{"\\r":2,"€":1,"😀":3,"\ufb33":4}'.encode()),
        ([1e21, 1e-7, 0.1, -0.0, 333333333.33333329], b"[1e+21,1e-7,0.1,0,333333333.3333333]"),
        ('\x00\b\t\n\f\r\x1f"\\/\x7f\u2028', b'"\\u0000\\b\\t\\n\\f\\r\\u001f\\"\\\\/\x7f\xe2\x80\xa8"'),
    ],
)
def test_known_documents(value: JsonValue, expected: bytes) -> None:
    assert canonical(value) == expected


@given(st.floats(2.0**53, 1e25) | st.floats(-1e25, -(2.0**53)))
def test_large_doubles_are_read_back_as_the_same_bytes(value: float) -> None:
    once = canonical([value])
    assert canonical(json.loads(once)) == once == rfc8785.dumps([value])


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), [-float("inf")], {"n": SAFE + 2}, -SAFE - 2, 10**400, "\ud800"]
)
def test_what_json_cannot_say_exactly_is_refused(value: JsonValue) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # rfc8785's and the codec's own errors, both ValueErrors
        canonical(value)


class Sample(Contract):
    some: str | None
    other: int = 0


def test_none_is_kept_in_a_model() -> None:
    assert canonical_model(Sample(some=None)) == b'{"other":0,"some":null}'
