"""Housekeeping comes when the calendar says so, as a turn of the leader."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from watchkeeper.core.clock import ManualClock
from watchkeeper.daemon.calendar import Calendar
from watchkeeper.daemon.health import Health
from watchkeeper.daemon.jobs import Jobs


class Leads:
    def __init__(self, answer: bool) -> None:
        self.answer, self.asked = answer, asyncio.Event()

    async def leads(self) -> bool:
        self.asked.set()
        return self.answer


async def fired(leader: Leads) -> list[str]:
    """What one turn, brought forward to now, has done."""
    jobs = Jobs(leader, Health(ManualClock()))  # type: ignore[arg-type]
    calendar, done = Calendar(jobs), []

    async def tidy() -> None:
        done.append("tidy")

    calendar.at("0 3 * * *", "tidy", tidy)
    calendar.start()
    try:
        (job,) = calendar._scheduler.get_jobs()
        assert (job.next_run_time.hour, job.next_run_time.minute) == (3, 0)
        job.modify(next_run_time=datetime.now(UTC) + timedelta(milliseconds=1))
        await leader.asked.wait()
        await asyncio.sleep(0)
    finally:
        calendar.stop()
        calendar.stop()
    return done


@pytest.mark.parametrize("leading", [True, False])
async def test_only_the_leader_tidies(leading: bool) -> None:
    assert await fired(Leads(leading)) == ["tidy"] * leading


def test_a_crontab_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ValueError, match="fields"):
        Calendar(Jobs(Leads(True), Health(ManualClock()))).at("at three", "tidy", lambda: asyncio.sleep(0))  # type: ignore[arg-type]
