"""Invariant 11: when something cannot be trusted the daemon does not act, and the gap is recorded afterwards."""

from __future__ import annotations

from datetime import timedelta

from watchkeeper.core.clock import ManualClock
from watchkeeper.daemon.health import Health


def test_invariant_11_a_distrust_ends_in_one_recorded_gap() -> None:
    clock = ManualClock()
    health = Health(clock)
    start = clock.now()
    assert health.acting
    assert health.distrust("store_unavailable")
    assert not health.distrust("ledger_unavailable"), "the first reason stands"
    assert (health.acting, health.why, health.since) == (False, "store_unavailable", start)
    health.blind(3)
    health.blind(4)
    clock.advance(9)
    gap = health.trust()
    assert gap is not None
    assert (gap.since, gap.until, gap.reason, gap.signals_seen) == (
        start,
        start + timedelta(seconds=9),
        "store_unavailable",
        7,
    )
    assert health.acting
    assert health.trust() is None


def test_the_next_gap_starts_anew() -> None:
    clock = ManualClock()
    health = Health(clock)
    health.distrust("a")
    health.blind(5)
    health.trust()
    clock.advance(60)
    health.distrust("b")
    gap = health.trust()
    assert gap is not None
    assert (gap.since, gap.reason, gap.signals_seen) == (clock.now(), "b", 0)


def test_a_gap_never_ends_before_it_began() -> None:
    clock = ManualClock()
    health = Health(clock)
    health.distrust("clock_went_back")
    clock.step_wall(-3600)
    gap = health.trust()
    assert gap is not None
    assert gap.until == gap.since


def test_a_step_back_is_seen_and_a_small_one_borne() -> None:
    clock = ManualClock()
    health = Health(clock)
    clock.advance(100)
    assert not health.clock_went_back()
    clock.step_wall(-0.5)
    assert not health.clock_went_back()
    clock.step_wall(-30)
    assert health.clock_went_back()
    assert health.clock_went_back(), "it is still behind"
    clock.step_wall(31)
    assert not health.clock_went_back()
