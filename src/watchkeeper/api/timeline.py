"""The live timeline: ledger entries as they get their index, for whoever watches. A caller asks again from `next`.

A long poll, not a stream: it goes through every proxy, and a caller that is cut off loses nothing.
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Query
from pydantic import Field

from watchkeeper.api.auth import Viewer, Wired
from watchkeeper.core.model import Contract
from watchkeeper.ledger.reader import Entry, LogReader

router = APIRouter(tags=["ledger"])

MAX_WAIT_S = 25.0
"""Below the usual 30 s after which clients and proxies give up."""
LOOK_EVERY_S = 0.2


class Timeline(Contract):
    """`next` is what to give as `after` the next time."""

    entries: tuple[Entry, ...]
    next: int = Field(ge=-1)


@router.get("/v1/timeline")
async def timeline(
    wired: Wired,
    caller: Viewer,
    after: int = Query(default=-1, ge=-1),
    wait_s: float = Query(default=0.0, ge=0, le=MAX_WAIT_S),
    limit: int = Query(default=200, ge=1, le=1000),
) -> Timeline:
    """Entries with an index above `after`, oldest first; waits up to `wait_s` for the first one."""
    await _grown(wired.log, after, wait_s)
    entries = tuple(await wired.log.find(after=after, limit=limit))
    return Timeline(entries=entries, next=entries[-1].index if entries else after)


async def _grown(log: LogReader, after: int, wait_s: float) -> None:
    """Waits until there is an entry above `after`, or the time is up: real time, not the clock that tests move."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    # the log grows in the database, maybe by another replica: there is no event in this process to wait for
    while await log.size() <= after + 1 and loop.time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(min(LOOK_EVERY_S, max(deadline - loop.time(), 0)))
