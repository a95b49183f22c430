"""Long work, told line by line as JSON while it goes on: `{"done": 3, "of": 9}`, and at its end `{"report": ...}`, or
`{"problem": ...}` if it failed.

Whoever is gone stops the work between two of its steps; what it did until then is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator

import structlog
from fastapi.responses import StreamingResponse

from watchkeeper.api.errors import Problem
from watchkeeper.core.errors import WatchkeeperError
from watchkeeper.core.model import Contract
from watchkeeper.ledger.retention.progress import Progress

log = structlog.get_logger(__name__)

LINES = "application/x-ndjson"
TELL_S = 2.0
"""How long nothing is said at most, so that nobody in between takes the connection for dead."""


def followed(work: AsyncIterator[Contract]) -> StreamingResponse:
    return StreamingResponse(_lines(work), media_type=LINES)


async def _lines(work: AsyncIterator[Contract]) -> AsyncIterator[str]:
    so_far: dict[str, object] = {"done": 0, "of": 0}
    following: asyncio.Future[Contract] | None = None
    try:
        while True:
            following = asyncio.ensure_future(anext(work))
            while not (await asyncio.wait({following}, timeout=TELL_S))[0]:
                yield _line(so_far)
            step = _step(following)
            if step is None:
                return
            so_far = step if "done" in step else so_far
            yield _line(step)
    finally:
        if following is not None:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration, Exception):
                await following
        if isinstance(work, AsyncGenerator):
            await work.aclose()


def _step(done: asyncio.Future[Contract]) -> dict[str, object] | None:
    """None when there is nothing more."""
    try:
        said = done.result()
    except StopAsyncIteration:
        return None
    except WatchkeeperError as error:
        problem = Problem(code=error.code, what=error.what, place=error.place, cause=error.cause, next=error.next_step)
        return {"problem": problem.model_dump()}
    except Exception as error:
        log.error("long_work_failed", exc_info=error)
        problem = Problem(code="error", what="the daemon failed on this request", next="see the daemon's log")
        return {"problem": problem.model_dump()}
    if isinstance(said, Progress):
        return {"done": said.done, "of": said.total}
    return {"report": said.model_dump(mode="json")}


def _line(said: dict[str, object]) -> str:
    return json.dumps(said, ensure_ascii=False) + "\n"
