"""Verification, done by the daemon over its own rows; told as it goes on to who asks for lines of JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from watchkeeper.api.auth import Viewer, Wired
from watchkeeper.api.errors import Problem
from watchkeeper.api.services import Check
from watchkeeper.core.errors import WatchkeeperError
from watchkeeper.core.model import Contract
from watchkeeper.ledger.note import MAX_NOTE_BYTES
from watchkeeper.ledger.verify import VerifyReport

log = structlog.get_logger(__name__)

router = APIRouter(tags=["ledger"])

LINES = "application/x-ndjson"
TELL_S = 0.2
"""The pause between two lines about what is done; also what keeps a connection alive while nothing is."""


class Anchor(Contract):
    """A checkpoint that you remember: a C2SP signed note."""

    anchor: str | None = Field(default=None, max_length=MAX_NOTE_BYTES)


@router.post("/v1/ledger/verify", response_model=VerifyReport)
async def verify(given: Anchor, request: Request, wired: Wired, caller: Viewer) -> Response | VerifyReport:
    """Hashes the stored entries, re-derives the tree, and checks every checkpoint. Without an anchor a rollback of the
    whole log cannot be excluded, and the report says so. `Accept: application/x-ndjson` tells what is done, line by
    line (`{"done": 2048, "of": 100000}`), and ends with `{"report": ...}`, or `{"problem": ...}` if it fails."""
    return await _answer(wired.verify, given.anchor, request)


@router.post("/v1/ledger/fsck", response_model=VerifyReport)
async def fsck(given: Anchor, request: Request, wired: Wired, caller: Viewer) -> Response | VerifyReport:
    """Re-derives everything from the raw entries: all of verify, and what entries say, their writers' chains, evidence,
    and that nothing is lost. Told like verify."""
    return await _answer(wired.fsck, given.anchor, request)


async def _answer(check: Check, anchor: str | None, request: Request) -> Response | VerifyReport:
    if LINES in request.headers.get("accept", ""):
        return StreamingResponse(_told(check, anchor), media_type=LINES)
    return await check(anchor)


async def _told(check: Check, anchor: str | None) -> AsyncIterator[str]:
    """Ends the check when whoever asked is gone."""
    so_far = (0, 0)

    def progress(done: int, of: int) -> None:
        nonlocal so_far
        so_far = (done, of)

    work = asyncio.ensure_future(check(anchor, progress))
    try:
        while not (await asyncio.wait({work}, timeout=TELL_S))[0]:
            yield _line({"done": so_far[0], "of": so_far[1]})
        yield _line(_end(work))
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await work


def _end(work: asyncio.Future[VerifyReport]) -> dict[str, object]:
    try:
        return {"report": work.result().model_dump(mode="json")}
    except WatchkeeperError as error:
        problem = Problem(code=error.code, what=error.what, place=error.place, cause=error.cause, next=error.next_step)
    except Exception as error:
        log.error("check_failed", exc_info=error)
        problem = Problem(code="error", what="the daemon failed on this request", next="see the daemon's log")
    return {"problem": problem.model_dump()}


def _line(said: dict[str, object]) -> str:
    return json.dumps(said, ensure_ascii=False) + "\n"
