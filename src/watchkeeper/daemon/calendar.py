"""Work by the wall clock: APScheduler fires thin triggers, and what they call is a job's turn under the leader.

For housekeeping that may come late: a clock that is set back delays it by as much. What must go on whatever the wall
clock says is a job of its own (`daemon/jobs.py`).
"""

from __future__ import annotations

from functools import partial

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger

from watchkeeper.daemon.jobs import Duty, Job, Jobs


class Calendar:
    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._scheduler = AsyncIOScheduler(timezone="UTC")

    def at(self, crontab: str, name: str, job: Job) -> None:
        """Runs `job` when the five fields of `crontab` say so, in UTC; a turn missed while we were down is not made up.

        One replica, the leader, works; two turns of one job never overlap.
        """
        turn = partial(self._jobs.run, name, job, Duty.LEAD)
        trigger = CronTrigger.from_crontab(crontab, timezone="UTC")
        self._scheduler.add_job(turn, trigger, id=name, coalesce=True, max_instances=1, misfire_grace_time=None)

    def start(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        """Fires nothing more."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
