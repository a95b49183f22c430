"""The quick spelling of contracts: the same bytes as the longer way, or none."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError, computed_field
from tests.testbed.entries import one_of_each

from watchkeeper.core.canonical import canonical, canonical_model
from watchkeeper.core.entries import ENTRY_DATA, Draft, EntryType
from watchkeeper.core.model import Contract, Instant, Labels, Scalar
from watchkeeper.core.spelling import is_canonical, number, spelled


class Inner(Contract):
    weight: float
    kind: EntryType = EntryType.CALL


class Outer(Contract):
    text: str
    count: int
    ratio: float | None
    at: Instant
    any: tuple[tuple[str, Scalar], ...] = ()
    labels: Labels = ()
    inner: tuple[Inner, ...] = ()
    one: Inner | None = None


texts = st.text(st.characters(codec="utf-8")) | st.text('":,.0123[]{}\\e+-a') | st.just("\U0001f600")
floats = (
    st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(-1e-3, 1e-3)
    | st.floats(1e15, 1e22)
    | st.integers(-(10**17), 10**17).map(float)
    | st.sampled_from([0.0, -0.0, 1.0, 1e16, 1e-4, 1e-5, 1e-6, 1e-7, 1e21, 2.0**53 - 1, 2.0**53])
)
safe = st.integers(-(2**53) + 1, 2**53 - 1)
instants = st.datetimes(
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]),
    min_value=datetime(3, 1, 1),
    max_value=datetime(9998, 1, 1),
)
inners = st.builds(Inner, weight=floats, kind=st.sampled_from(EntryType))
outers = st.builds(
    Outer,
    text=texts,
    count=safe,
    ratio=st.none() | floats,
    at=instants,
    any=st.lists(st.tuples(texts, st.none() | st.booleans() | safe | floats | texts), max_size=3).map(tuple),
    labels=st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
    inner=st.lists(inners, max_size=2).map(tuple),
    one=st.none() | inners,
)


@given(outers)
def test_the_quick_spelling_is_rfc8785_s(model: Outer) -> None:
    expected = rfc8785.dumps(model.model_dump(mode="json"))
    assert spelled(model) in (None, expected)
    assert canonical_model(model) == expected


@given(floats)
def test_the_quick_spelling_of_a_number_is_rfc8785_s(value: float) -> None:
    assert number(value) in (None, rfc8785.dumps(value))


def test_everyday_numbers_are_spelled_quickly() -> None:
    assert [number(each) for each in (0.0, -0.0, 3.0, 0.5633, -12.25)] == [b"0", b"0", b"3", b"0.5633", b"-12.25"]
    assert [number(each) for each in (float("nan"), float("inf"), 1e300)] == [None, None, None]


@pytest.mark.parametrize("draft", one_of_each().values(), ids=list(one_of_each()))
def test_every_kind_of_entry_is_written_alike_and_most_are_quickly(draft: Draft) -> None:
    expected = canonical(draft.data.model_dump(mode="json"))
    assert canonical_model(draft.data) == expected
    everyday = draft.type != EntryType.FINDING  # whose golden numbers are extreme
    assert spelled(draft.data) == (expected if everyday else None)
    assert is_canonical(expected, json.loads(expected)) == everyday


def test_every_kind_is_there() -> None:
    assert one_of_each().keys() == ENTRY_DATA.keys()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 2**53, -(2**53), 10**30])
def test_what_json_cannot_say_is_refused_however_it_came_in(number: int | float) -> None:
    model = Outer(text="", count=1, ratio=0.5, at=datetime(2026, 1, 1, tzinfo=UTC))
    field = "ratio" if isinstance(number, float) else "count"
    bad = model.model_copy(update={field: number})
    assert spelled(bad) is None
    if number not in {2**53, -(2**53)}:  # a double's own spelling, see `canonical`
        with pytest.raises(ValueError):  # noqa: PT011  # rfc8785's own error, a ValueError
            canonical_model(bad)


class Counted(Contract):
    given: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        return 2 * self.given


class Longer(Inner):
    more: int = 1


class Loose(Contract):
    whatever: Any


@pytest.mark.parametrize("model", [Counted(given=1), Longer(weight=0.5), Loose(whatever=0.5)])
def test_what_is_not_written_field_by_field_is_not_guessed(model: Contract) -> None:
    assert spelled(model) is None
    assert canonical_model(model) == canonical(model.model_dump(mode="json"))


wild = st.recursive(
    st.none() | st.booleans() | texts | floats | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(wild)
def test_bytes_that_are_called_canonical_are(value: Any) -> None:
    """However a writer of JSON may spell it."""
    try:
        expected = rfc8785.dumps(value)
    except ValueError:
        expected = b""
    for text in (expected, json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()):
        if text:
            said = json.loads(text)
            assert not is_canonical(text, said) or text == canonical(said)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":-0}',
        '{"a":1.0}',
        '{"a":1e3}',
        "[1E3]",
        '{"a":1,"a":1}',
        '{"b":1,"a":2}',
        "[ 1]",
        '["\\u0041"]',
        '{"a":0.10}',
        "[-0.0]",
        "[12345678901234567890]",
    ],
)
def test_other_spellings_are_not_canonical(text: str) -> None:
    assert not is_canonical(text.encode(), json.loads(text))


def test_a_contract_needs_its_fields() -> None:
    with pytest.raises(ValidationError):
        Inner.model_validate({})
    assert spelled(Inner.model_construct(**{})) is None
