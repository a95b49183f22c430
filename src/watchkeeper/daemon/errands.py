"""Work that may last longer than a turn (`daemon/jobs.py`): begun by the calendar, one of a name at a time.

It is ended with the daemon wherever it stands, so it must be of a kind that goes on where it was when begun again.
A failure is logged, and the next beginning tries again; it says nothing of whether the database can be trusted, which
the turns notice soon enough.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from watchkeeper.core.errors import WatchkeeperError

log = structlog.get_logger(__name__)


class Errands:
    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[None]] = {}

    def begin(self, name: str, work: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
        """What the calendar calls: it returns at once. Nothing is begun while the last one is still at work."""

        async def beginning() -> None:
            task = self._running.get(name)
            if task is None or task.done():
                self._running[name] = asyncio.create_task(_done(name, work), name=f"errand {name}")

        return beginning

    async def stop(self) -> None:
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        self._running.clear()


async def _done(name: str, work: Callable[[], Awaitable[object]]) -> None:
    try:
        await work()
    except WatchkeeperError as error:
        log.warning("errand_failed", errand=name, code=error.code, what=error.what, place=error.place)
    except Exception as error:
        log.error("errand_failed", errand=name, exc_info=error)
