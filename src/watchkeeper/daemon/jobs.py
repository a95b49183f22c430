"""The periodic work: each job in a loop of its own, one turn at a time.

The pauses are monotonic, so that a wall clock that is set back does not put the watch to sleep. A turn that fails
because the database or the ledger cannot be trusted, or that hangs, stops all acting; any other failure is logged;
either way the job runs again at its next turn.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from enum import StrEnum

import structlog

from watchkeeper.core.errors import LedgerError, StoreError, UnavailableError, WatchkeeperError
from watchkeeper.daemon.health import Health
from watchkeeper.daemon.leader import Leader

log = structlog.get_logger(__name__)

STOP_S = 10.0
ASK_S = 10.0
"""How long to wait for the answer who leads: a database that hangs must not keep us from watching."""
TURN_S = 120.0
"""A turn that lasts longer hangs: it is given up, and whatever it hangs on is not trusted."""
Job = Callable[[], Awaitable[object]]


class Duty(StrEnum):
    """Who does a job, and when."""

    LEAD = "lead"  # one replica, while the daemon may act
    SERVE = "serve"  # every replica, while the daemon may act
    WATCH = "watch"  # one replica; while nothing can be trusted every one, since nobody can tell who leads
    ALWAYS = "always"  # every replica


class Jobs:
    def __init__(self, leader: Leader, health: Health) -> None:
        self._leader, self._health = leader, health
        self._jobs: list[tuple[float, str, Job, Duty]] = []
        self._loops: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()

    def every(self, seconds: float, name: str, job: Job, duty: Duty = Duty.LEAD) -> None:
        """Runs `job` every so many seconds from `start` on; a turn that lasts longer skips those that it missed."""
        self._jobs.append((seconds, name, job, duty))

    def start(self) -> None:
        self._loops = [asyncio.create_task(self._repeat(*job), name=f"job {job[1]}") for job in self._jobs]

    async def stop(self) -> None:
        """Starts no turn more, and lets those at work finish, for a while."""
        self._stopping.set()
        if self._loops:
            _, late = await asyncio.wait(self._loops, timeout=STOP_S)
            for loop in late:
                loop.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _repeat(self, seconds: float, name: str, job: Job, duty: Duty) -> None:
        time, pause = asyncio.get_running_loop().time, seconds
        while not await self._stopped_within(pause):
            began = time()
            await self.run(name, job, duty)
            pause = seconds - (time() - began) % seconds

    async def _stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()

    async def run(self, name: str, job: Job, duty: Duty = Duty.ALWAYS) -> None:
        """One turn, if it is ours now. Raises nothing."""
        try:
            async with asyncio.timeout(TURN_S):
                if await self._is_ours(duty):
                    await job()
        except TimeoutError:
            self._health.distrust("turn_hangs")
            log.error("job_hangs", job=name, limit_s=TURN_S)
        except (StoreError, LedgerError) as error:
            news = self._health.distrust(error.code)
            (log.warning if news else log.debug)("job_unavailable", job=name, what=error.what)
        except UnavailableError as error:
            log.warning("job_unavailable", job=name, what=error.what)
        except WatchkeeperError as error:
            log.warning("job_failed", job=name, code=error.code, what=error.what)
        except Exception as error:
            log.error("job_failed", job=name, exc_info=error)

    async def _is_ours(self, duty: Duty) -> bool:
        match duty:
            case Duty.ALWAYS:
                return True
            case Duty.SERVE:
                return self._health.acting
            case Duty.LEAD:
                return self._health.acting and await self._leads()
            case Duty.WATCH:
                return not self._health.acting or await self._leads()

    async def _leads(self) -> bool:
        try:
            async with asyncio.timeout(ASK_S):
                return await self._leader.leads()
        except TimeoutError:
            raise StoreError(
                f"the database did not answer within {ASK_S:g} s",
                cause="it hangs, or the network to it is cut",
                next_step="watchkeeper config check",
            ) from None
