"""The periodic work, as thin triggers: APScheduler fires, one job at a time each, and never two of the same kind.

A job that fails because the database or the ledger cannot be trusted stops all acting; any other failure is logged and
the job runs again at its next turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from watchkeeper.core.errors import UnavailableError, WatchkeeperError
from watchkeeper.daemon.leader import Leader

log = structlog.get_logger(__name__)

STOP_S = 10.0
Job = Callable[[], Awaitable[object]]


class Jobs:
    def __init__(self, leader: Leader, distrust: Callable[[UnavailableError], Awaitable[None]]) -> None:
        self._leader, self._distrust = leader, distrust
        self._scheduler = AsyncIOScheduler(timezone="UTC")
        self._at_work: set[asyncio.Task[None]] = set()

    def every(self, seconds: float, name: str, job: Job, *, leader_only: bool = True) -> None:
        """Runs `job` every so many seconds; `leader_only` work is done by one replica."""
        self._scheduler.add_job(
            self._guarded,
            IntervalTrigger(seconds=seconds),
            args=(name, job, leader_only),
            id=name,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )

    def start(self) -> None:
        self._scheduler.start()

    async def stop(self) -> None:
        """Fires nothing more, and lets what is at work finish."""
        if not self._scheduler.running:
            return
        self._scheduler.remove_all_jobs()
        if self._at_work:
            await asyncio.wait(self._at_work, timeout=STOP_S)
        self._scheduler.shutdown(wait=False)

    async def _guarded(self, name: str, job: Job, leader_only: bool) -> None:
        task = asyncio.ensure_future(self._run(name, job, leader_only))
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)
        await asyncio.shield(task)

    async def _run(self, name: str, job: Job, leader_only: bool) -> None:
        try:
            if leader_only and not await self._leader.leads():
                return
            await job()
        except UnavailableError as error:
            log.warning("job_unavailable", job=name, what=error.what)
            if error.code in ("store_unavailable", "ledger_unavailable"):
                await self._distrust(error)
        except WatchkeeperError as error:
            log.warning("job_failed", job=name, code=error.code, what=error.what)
        except Exception as error:
            log.error("job_failed", job=name, exc_info=error)
