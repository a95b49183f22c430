"""Contracts and instants: closed, frozen, one text form in order of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from watchkeeper.core.model import Contract, Instant, format_instant, labels

instants = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC))


class Event(Contract):
    at: Instant


@given(instants, instants)
def test_text_order_is_time_order(one: datetime, other: datetime) -> None:
    assert (format_instant(one) < format_instant(other)) is (one < other)


@given(instants, st.integers(-14, 14))
def test_an_instant_has_one_text_form_whatever_its_zone(at: datetime, hours: int) -> None:
    moved = at.astimezone(timezone(timedelta(hours=hours)))
    text = Event(at=moved).model_dump_json()
    assert text == Event(at=at).model_dump_json()
    assert Event.model_validate_json(text).at == at
    assert Event(at=moved).at.tzinfo is UTC


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValidationError):
        Event(at=datetime(2026, 1, 1))


def test_a_contract_is_closed_and_frozen() -> None:
    event = Event(at=datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(ValidationError, match="frozen"):
        event.at = datetime(2027, 1, 1, tzinfo=UTC)  # type: ignore[misc]
    with pytest.raises(ValidationError, match="extra"):
        Event.model_validate({"at": "2026-01-01T00:00:00Z", "more": 1})


def test_labels_are_sorted() -> None:
    assert labels(b="2", a="1") == (("a", "1"), ("b", "2"))
