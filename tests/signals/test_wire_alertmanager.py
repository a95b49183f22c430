"""Alertmanager's webhook: what it becomes, how repeats are told, and what is refused where."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from watchkeeper.core.errors import InputError
from watchkeeper.core.signals import EventKind
from watchkeeper.core.subjects import Subject, SubjectKind
from watchkeeper.signals.alertmanager import MAX_BODY, AlertmanagerConfig, LabelRule, decode

ZERO = "0001-01-01T00:00:00Z"


def alert(**changes: JsonValue) -> dict[str, JsonValue]:
    value: dict[str, JsonValue] = {
        "status": "firing",
        "labels": {"alertname": "HighSpend", "service": "shop", "severity": "page", "customer": "Ada"},
        "annotations": {"summary": "Ada spends a lot"},
        "startsAt": "2026-11-23T10:00:00.123Z",
        "endsAt": ZERO,
        "generatorURL": "http://prometheus/graph",
        "fingerprint": "c0ffee",
    }
    return value | changes


def webhook(*alerts: JsonValue, **changes: JsonValue) -> bytes:
    value: dict[str, JsonValue] = {
        "version": "4",
        "groupKey": '{}:{alertname="HighSpend"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "watchkeeper",
        "groupLabels": {"alertname": "HighSpend"},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager",
        "notification_reason": "first",
        "alerts": list(alerts),
    }
    return json.dumps(value | changes).encode()


CONFIG = AlertmanagerConfig()


def test_an_alert_is_an_event_about_its_subject() -> None:
    (event,) = decode(webhook(alert()), CONFIG)
    assert (event.kind, event.name, event.active) == (EventKind.ALERT, "HighSpend", True)
    assert event.subject == Subject(kind=SubjectKind.SERVICE, id="shop")
    assert event.labels == (("severity", "page"),)
    assert event.at.isoformat() == "2026-11-23T10:00:00.123000+00:00"
    assert "Ada" not in event.model_dump_json()


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("service", SubjectKind.SERVICE),
        ("agent", SubjectKind.AGENT),
        ("model", SubjectKind.MODEL),
        ("deployment", SubjectKind.DEPLOYMENT),
        ("pod", SubjectKind.POD),
        ("instance", SubjectKind.HOST),
    ],
)
def test_the_labels_name_the_subject(label: str, kind: SubjectKind) -> None:
    (event,) = decode(webhook(alert(labels={label: "x"})), CONFIG)
    assert event.subject == Subject(kind=kind, id="x")


def test_a_key_is_named_by_its_hash_or_not_at_all() -> None:
    (event,) = decode(webhook(alert(labels={"key": "ab12" * 16})), CONFIG)
    assert event.subject == Subject(kind=SubjectKind.KEY, id="ab12" * 16)
    (event,) = decode(webhook(alert(labels={"key": "sk-secret", "service": "shop"})), CONFIG)
    assert str(event.subject) == "service:shop"


def test_the_mapping_is_the_teams_to_set() -> None:
    config = AlertmanagerConfig(subjects=(LabelRule(label="app", kind=SubjectKind.AGENT),), labels=("team",))
    labels: JsonValue = {"app": "buyer", "service": "shop", "team": "blue", "severity": "page"}
    (event,) = decode(webhook(alert(labels=labels)), config)
    assert (str(event.subject), event.labels) == ("agent:buyer", (("team", "blue"),))


def test_an_alert_about_nothing_known_is_still_told() -> None:
    (event,) = decode(webhook(alert(labels={})), CONFIG)
    assert (str(event.subject), event.name) == ("service:unassigned", "unnamed")


def test_repeats_are_one_event_and_changes_are_another() -> None:
    firing = decode(webhook(alert()), CONFIG)[0]
    assert (
        decode(webhook(alert(endsAt="2026-11-23T10:05:00Z"), notification_reason="repeat"), CONFIG)[0].id == firing.id
    )
    ended = decode(webhook(alert(status="resolved", endsAt="2026-11-23T10:05:00Z")), CONFIG)[0]
    assert (ended.active, ended.at.minute, ended.id != firing.id) == (False, 5, True)
    others = [alert(fingerprint="1"), alert(startsAt="2026-11-23T11:00:00Z")]
    assert len({event.id for event in decode(webhook(*others), CONFIG)} | {firing.id}) == 3
    assert decode(webhook(alert(), groupKey="other"), CONFIG)[0].id != firing.id


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"{", "body"),
        (b"[]", "body"),
        (b"[" * 200_000, "body"),
        (webhook(alert(), version="5"), "version"),
        (webhook(alert(), groupKey=None), "groupKey"),
        (webhook(alerts={}), "alerts"),
        (webhook(alert(), "x"), "alerts[1]"),
        (webhook(alert(), alert(startsAt="soon")), "alerts[1].startsAt"),
        (webhook(alert(startsAt="2026-11-23T10:00:00")), "alerts[0].startsAt"),
        (webhook(alert(endsAt="9999-12-31T23:59:59-12:00")), "alerts[0].endsAt"),
        (webhook(alert(status="pending")), "alerts[0].status"),
        (webhook(alert(fingerprint="")), "alerts[0].fingerprint"),
        (webhook(alert(labels={"service": 5})), "alerts[0].labels.service"),
        (b" " * (MAX_BODY + 1), "body"),
    ],
)
def test_the_malformed_field_is_named(content: bytes, place: str) -> None:
    with pytest.raises(InputError) as refused:
        decode(content, CONFIG)
    assert refused.value.place == place


def test_what_a_sender_wrote_is_not_in_the_error() -> None:
    with pytest.raises(InputError) as refused:
        decode(webhook(alert(status="Ada's secret")), CONFIG)
    assert "Ada" not in refused.value.diagnostics()


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=10),
    st.sampled_from([ZERO, "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-12:00", "firing", "resolved"]),
)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2)
)


@given(st.dictionaries(st.sampled_from(sorted(alert())), anything), st.binary(max_size=50))
def test_anything_else_is_read_or_refused(changes: dict[str, JsonValue], noise: bytes) -> None:
    for content in (webhook(copy.deepcopy(alert()) | changes), noise):
        place = "a place"
        try:
            events = decode(content, CONFIG)
        except InputError as error:
            place, events = error.place, ()
        assert place
        assert len(events) <= 1
