"""Invariant 11: when something cannot be trusted the daemon does not act, and the gap can be told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.signals.wire_samples import call

from watchkeeper.core.clock import ManualClock
from watchkeeper.daemon import health as room
from watchkeeper.daemon.health import Health
from watchkeeper.daemon.wall import JUMPED, REBASE_S, SETTLE_S, WENT_BACK, Wall


def test_invariant_11_a_distrust_makes_one_gap_with_what_was_seen() -> None:
    clock = ManualClock()
    health = Health(clock)
    start = clock.now()
    assert health.acting
    assert health.distrust("store_unavailable")
    assert not health.distrust("ledger_unavailable"), "the first reason stands"
    assert (health.acting, health.why, health.since) == (False, "store_unavailable", start)
    assert health.blind([call("a"), call("b")]) == [call("a"), call("b")]
    assert health.blind([call("b"), call("c")]) == [call("c")], "told again while blind, it is no news"
    clock.advance(9)
    gap = health.gap()
    end = start + timedelta(seconds=9)
    assert (gap.since, gap.until, gap.reason, gap.signals_seen) == (start, end, "store_unavailable", 3)
    health.resume()
    assert health.acting
    assert health.since is None


def test_a_gap_that_could_not_be_recorded_is_not_lost_and_one_that_was_is_not_told_twice() -> None:
    clock = ManualClock()
    health = Health(clock)
    health.distrust("a")
    start = clock.now()
    health.blind([call("a")])
    clock.advance(5)
    assert health.gap() == health.gap(), "asking changes nothing"
    recorded = health.gap()
    health.blind([call("b")])
    health.recorded(recorded)
    clock.advance(5)
    rest = health.gap()
    assert (recorded.since, recorded.until, recorded.signals_seen) == (start, start + timedelta(seconds=5), 1)
    assert (rest.since, rest.until, rest.signals_seen) == (recorded.until, clock.now(), 1)


def test_the_next_gap_starts_anew() -> None:
    clock = ManualClock()
    health = Health(clock)
    health.distrust("a")
    health.blind([call("a")])
    health.resume()
    clock.advance(30)
    health.distrust("b")
    health.blind([call("a")])
    gap = health.gap()
    assert (gap.since, gap.reason, gap.signals_seen) == (clock.now(), "b", 1)


def test_what_is_remembered_of_blind_signals_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_KNOWN", 2)
    health = Health(ManualClock())
    health.distrust("a")
    for _ in range(2):
        health.blind([call("a"), call("b"), call("c")])
    assert len(health._known) == 2
    assert health.gap().signals_seen == 4, "beyond the bound each delivery counts"


@pytest.mark.parametrize(("step", "why"), [(-30, WENT_BACK), (3600, JUMPED)])
def test_invariant_11_a_step_of_the_clock_stops_acting_at_once(step: float, why: str) -> None:
    clock = ManualClock()
    health = Health(clock)
    clock.advance(100)
    true_time = clock.now()
    clock.step_wall(step)
    assert not health.acting
    assert (health.why, health.since, health.now()) == (why, true_time, true_time)
    clock.advance(10)
    clock.step_wall(-step)
    assert health.wall.fault() == ""
    gap = health.gap()
    assert (gap.since, gap.until) == (true_time, true_time + timedelta(seconds=10))


@pytest.mark.parametrize("step", [-1.0, 1.0])
def test_a_leap_second_is_borne(step: float) -> None:
    clock = ManualClock()
    wall = Wall(clock)
    clock.step_wall(step)
    assert wall.fault() == ""


def test_slow_drift_is_borne_for_ever() -> None:
    clock = ManualClock()
    wall = Wall(clock)
    for _ in range(20):
        clock.advance(REBASE_S)
        clock.step_wall(0.5)
        assert wall.fault() == ""


def test_a_jump_forward_is_believed_when_it_stayed() -> None:
    clock = ManualClock()
    wall = Wall(clock)
    clock.step_wall(86_400)
    assert wall.fault() == JUMPED
    clock.advance(SETTLE_S - 1)
    assert wall.fault() == JUMPED
    clock.advance(2)
    assert wall.fault() == ""
    assert wall.now() == clock.now()


def test_a_clock_that_goes_on_jumping_is_not_believed() -> None:
    clock = ManualClock()
    wall = Wall(clock)
    for _ in range(10):
        clock.step_wall(60)
        assert wall.fault() == JUMPED
        clock.advance(SETTLE_S / 2)


def test_a_step_back_is_believed_only_beyond_all_time_that_was_believed_before() -> None:
    clock = ManualClock()
    wall = Wall(clock)
    clock.advance(10)
    clock.step_wall(-2 * SETTLE_S)
    assert wall.fault() == WENT_BACK
    clock.advance(2 * SETTLE_S - 1)
    assert wall.fault() == WENT_BACK, "steady for long, but that time was lived already"
    clock.advance(2)
    assert wall.fault() == ""


class Paused(ManualClock):
    """The process is halted between two readings."""

    def monotonic(self) -> float:
        now = super().monotonic()
        self.advance(30)
        return now


def test_a_process_that_was_halted_between_two_readings_does_not_blame_the_clock() -> None:
    assert Wall(Paused()).fault() == ""
