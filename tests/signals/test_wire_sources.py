"""What is told of each source: its state, what it delivered, and its last error."""

from __future__ import annotations

from datetime import timedelta

from watchkeeper.core.clock import ManualClock
from watchkeeper.signals.sources import MAX_ERROR, MISSED_TURNS, SLACK_S, SourceBook, SourceKind, SourceReport

EVERY_S, LATE_S = 10.0, 120.0


def book(clock: ManualClock) -> SourceBook:
    made = SourceBook(clock, LATE_S)
    made.expect("prom", SourceKind.PROMETHEUS, EVERY_S)
    return made


def report(made: SourceBook, name: str = "prom") -> SourceReport:
    (found,) = [each for each in made.reports() if each.name == name]
    return found


def test_every_source_has_a_line_before_it_delivers() -> None:
    told = [(each.name, each.kind, each.state) for each in book(ManualClock()).reports()]
    assert told == [
        ("alertmanager", "alertmanager", "waiting"),
        ("otlp", "otlp", "waiting"),
        ("prom", "prometheus", "waiting"),
    ]


def test_what_is_delivered_adds_up() -> None:
    clock = ManualClock()
    made = book(clock)
    made.delivered("prom", 3, 0)
    clock.advance(EVERY_S)
    made.delivered("prom", 1, 2)
    told = report(made)
    assert (told.state, told.signals, told.duplicates, told.failures) == ("ok", 4, 2, 0)
    assert told.last_ok == clock.now()


def test_a_poll_that_fails_is_told_until_one_succeeds() -> None:
    clock = ManualClock()
    made = book(clock)
    made.failed("prom", "prom: it could not be asked")
    assert (report(made).state, report(made).last_ok) == ("failing", None)
    failed = clock.now()
    clock.advance(EVERY_S)
    made.delivered("prom", 1, 0)
    told = report(made)
    assert (told.state, told.failures, told.last_failure) == ("ok", 1, failed)
    assert told.last_error == "prom: it could not be asked"


def test_a_refused_delivery_says_nothing_of_the_next_sender() -> None:
    made = book(ManualClock())
    made.failed("alertmanager", "this call carries no valid token")
    assert (report(made, "alertmanager").state, report(made, "alertmanager").failures) == ("waiting", 1)
    made.delivered("alertmanager", 1, 0)
    made.failed("alertmanager", "the body is not JSON")
    assert (report(made, "alertmanager").state, report(made, "alertmanager").failures) == ("ok", 2)


def test_what_is_unusable_in_part_is_told_until_all_of_it_is() -> None:
    made = book(ManualClock())
    made.delivered("prom", 1, 0, "queries.a: the query was refused by Prometheus")
    assert (report(made).state, report(made).failures) == ("partial", 0)
    assert report(made).last_error.startswith("queries.a")
    made.delivered("prom", 1, 0)
    assert report(made).state == "ok"


def test_a_poll_that_never_ends_makes_the_source_stale_and_a_silent_sender_does_not() -> None:
    clock = ManualClock()
    made = book(clock)
    made.delivered("prom", 1, 0)
    made.delivered("alertmanager", 1, 0)
    clock.advance(MISSED_TURNS * EVERY_S + SLACK_S)
    assert report(made).state == "ok"
    clock.advance(1)
    assert report(made).state == "stale"
    assert report(made, "alertmanager").state == "ok"


def test_invariant_10_an_error_of_any_length_is_told_within_a_bound() -> None:
    made = book(ManualClock())
    made.failed("prom", "x" * 10_000)
    made.failed("otlp", "y" * 10_000)
    assert {len(report(made, name).last_error) for name in ("prom", "otlp")} == {MAX_ERROR}


def test_a_gateway_that_was_not_read_in_time_leaves_a_gap_that_later_reads_do_not_fill() -> None:
    clock = ManualClock()
    made = SourceBook(clock, LATE_S)
    made.expect("a", SourceKind.GATEWAY, EVERY_S)
    made.expect("b", SourceKind.GATEWAY, EVERY_S)
    made.expect("prom", SourceKind.PROMETHEUS, EVERY_S)
    began = clock.now()

    def told(from_s: float, until_s: float) -> bool:
        return made.gateways_told(began + timedelta(seconds=from_s), began + timedelta(seconds=until_s))

    def read(*names: str, after_s: float) -> None:
        clock.advance(after_s)
        for name in names:
            made.delivered(name, 0, 0)

    read("a", after_s=50)
    assert not told(0, 50), "b was not read"
    read("b", after_s=10)
    assert told(0, 50)
    assert not told(0, 51), "a was read before that"
    made.failed("a", "it did not answer")
    read("a", "b", after_s=LATE_S - 10)
    assert told(0, 170), "what is read within the lateness was missed by nobody"
    read("b", after_s=100)
    read("a", "b", after_s=LATE_S)
    assert told(0, 170)
    assert not told(0, 171)
    assert told(270, 390), "the latest part of the gap still came in time"
    assert not told(269, 390)


def test_where_no_gateway_is_polled_none_is_missed() -> None:
    clock = ManualClock()
    assert book(clock).gateways_told(clock.now(), clock.now() + timedelta(days=1))
