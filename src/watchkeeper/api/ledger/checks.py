"""Verification, done by the daemon over its own rows; told as it goes on to who asks for lines of JSON."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request, Response
from pydantic import Field

from watchkeeper.api.auth import Viewer, Wired
from watchkeeper.api.services import Check
from watchkeeper.api.streams import LINES, followed
from watchkeeper.core.model import Contract
from watchkeeper.ledger.checks.verify import VerifyReport
from watchkeeper.ledger.retention.progress import Progress
from watchkeeper.ledger.signing.note import MAX_NOTE_BYTES

router = APIRouter(tags=["ledger"])

TELL_S = 0.2
"""The pause between two lines about what is done."""


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
        return followed(_told(check, anchor))
    return await check(anchor)


async def _told(check: Check, anchor: str | None) -> AsyncIterator[Progress | VerifyReport]:
    """How far the check is, now and then, and its report. Ends it when whoever asked is gone."""
    so_far = Progress(what="entries", done=0, total=0)

    def progress(done: int, of: int) -> None:
        nonlocal so_far
        so_far = Progress(what="entries", done=done, total=of)

    work = asyncio.ensure_future(check(anchor, progress))
    try:
        while not (await asyncio.wait({work}, timeout=TELL_S))[0]:
            yield so_far
        yield work.result()
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await work
