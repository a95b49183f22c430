"""What gives away a person or a secret gets a handle on its way in; what systems are called stays."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.testbed.secrets import MODELS

from watchkeeper.core.signals import Call, Event, EventKind, Span, SpanOp
from watchkeeper.core.subjects import Subject, SubjectKind
from watchkeeper.ledger.evidence.redaction import Redactor
from watchkeeper.signals.handles import Handles

AT = datetime(2026, 1, 2, tzinfo=UTC)
HANDLES = Handles(b"salt", Redactor(), frozenset({"bot@owner.example.com"}))
MAIL = "ann@example.com"


@pytest.mark.parametrize(
    "name", [MAIL, f"agent of {MAIL}", "+49 151 2345 6789", "sk-1234567890abcdefABCD", "ghp_" + "a1B2" * 9]
)
def test_a_name_that_gives_somebody_away_gets_a_handle(name: str) -> None:
    handle = HANDLES.name(name)
    assert handle.startswith("anon-")
    assert handle == HANDLES.name(name) != HANDLES.name(name + "x@example.org")
    assert handle != Handles(b"another", Redactor()).name(name)
    assert HANDLES.name(handle) == handle


@pytest.mark.parametrize(
    "name",
    [
        *(*MODELS, "", "support-agent", "run_019b7c1d4e5f0011223344556677", "9f86d081884c7d65" * 4, "search_docs"),
        *("Ann's bot", "bot@owner.example.com"),
    ],
)
def test_what_systems_and_the_owner_call_things_stays(name: str) -> None:
    assert HANDLES.name(name) == name


def test_every_name_of_a_signal_is_looked_at() -> None:
    span = Span(
        id="1", source="otlp", at=AT, trace_id="t", span_id="s", started=AT, op=SpanOp.AGENT,
        run_id=MAIL, service=MAIL, environment=MAIL, agent=MAIL, tool=MAIL, model="gpt-4o",
    )  # fmt: skip
    call = Call(id="2", source="litellm", at=AT, started=AT, call_id="c", gateway="main", team=MAIL, agent=MAIL)
    alert = Event(
        id="3", source="am", at=AT, kind=EventKind.ALERT, name="Slow", subject=Subject(kind=SubjectKind.RUN, id=MAIL)
    )
    plain = alert.model_copy(update={"subject": Subject(kind=SubjectKind.DEPLOYMENT, id=MAIL)})
    told = HANDLES.applied([span, call, alert, plain])
    assert [MAIL in each.model_dump_json() for each in told] == [False, False, False, True]
    assert told[3] is plain
