"""Clocks: the system's, and the one that moves only when told."""

from __future__ import annotations

from datetime import UTC, timedelta

from watchkeeper.core.clock import Clock, ManualClock, SystemClock


def test_the_system_clock_is_aware_and_its_count_does_not_go_back() -> None:
    clock: Clock = SystemClock()
    before = clock.monotonic()
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() >= before


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock()
    start = clock.now()
    assert (clock.now(), clock.monotonic()) == (start, 0.0)
    clock.advance(2.5)
    assert (clock.now(), clock.monotonic()) == (start + timedelta(seconds=2.5), 2.5)


def test_a_wall_step_leaves_the_count_alone() -> None:
    clock = ManualClock()
    start = clock.now()
    clock.advance(10)
    clock.step_wall(-60)
    assert (clock.now(), clock.monotonic()) == (start - timedelta(seconds=50), 10.0)
