"""The ledger, read-only: entries, checkpoint, verification, replay, export. What it says can be checked without
trusting it."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, PlainTextResponse
from pydantic import Field
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from watchkeeper.api.auth import Viewer, Wired
from watchkeeper.core.entries import EntryType
from watchkeeper.core.errors import NotFoundError
from watchkeeper.core.model import Contract
from watchkeeper.ledger.export import export
from watchkeeper.ledger.note import MAX_NOTE_BYTES
from watchkeeper.ledger.reader import Entry
from watchkeeper.ledger.replay import Recomputers, ReplayReport, replay_log
from watchkeeper.ledger.verify import VerifyReport
from watchkeeper.policies.compile import Policy
from watchkeeper.policies.replay import decision_recomputer
from watchkeeper.policies.versions import PolicyVersions

router = APIRouter(tags=["ledger"])


class LogKey(Contract):
    """The verifier key of this log, in C2SP's vkey form: remember it out of band."""

    vkey: str


class Anchor(Contract):
    """A checkpoint that you remember: a C2SP signed note."""

    anchor: str | None = Field(default=None, max_length=MAX_NOTE_BYTES)


@router.get("/v1/ledger/entries")
async def entries(
    wired: Wired,
    caller: Viewer,
    after: int = Query(default=-1, ge=-1),
    limit: int = Query(default=100, ge=1, le=1000),
    subject: str | None = None,
) -> list[Entry]:
    """Sequenced entries with an index greater than `after`, oldest first."""
    return await wired.log.find(subject=subject, after=after, limit=limit)


@router.get("/v1/ledger/tail")
async def tail(wired: Wired, caller: Viewer, count: int = Query(default=20, ge=1, le=1000)) -> list[Entry]:
    """The newest entries, oldest first."""
    return await wired.log.tail(count)


@router.get("/v1/ledger/checkpoint", response_class=PlainTextResponse)
async def checkpoint(wired: Wired, caller: Viewer) -> str:
    """The newest signed checkpoint, a C2SP signed note. Keep one elsewhere: it is the anchor of a later verify."""
    newest = await wired.log.checkpoint()
    if newest is None:
        raise NotFoundError(
            "nothing is signed yet", cause="the daemon has just started", next_step="try again in a second"
        )
    return newest


@router.get("/v1/ledger/key")
async def key(wired: Wired, caller: Viewer) -> LogKey:
    return LogKey(vkey=wired.vkey)


@router.post("/v1/ledger/verify")
async def verify(given: Anchor, wired: Wired, caller: Viewer) -> VerifyReport:
    """Re-derives the tree from the raw entries. Without an anchor a rollback of the whole log cannot be excluded, and
    the report says so."""
    return await wired.verify(given.anchor)


@router.post("/v1/ledger/replay")
async def replay(wired: Wired, caller: Viewer) -> ReplayReport:
    """Makes every recorded decision again from its recorded input, and compares byte for byte."""
    return await replay_log(wired.log.iterate(), await _recomputers(wired.versions))


@router.get("/v1/ledger/export", response_class=FileResponse)
async def exported(wired: Wired, caller: Viewer) -> FileResponse:
    """Everything up to the newest checkpoint, as a tar of the export's files."""
    scratch = tempfile.TemporaryDirectory(prefix="watchkeeper-export-")
    try:
        directory = Path(scratch.name) / "export"
        await export(wired.log, directory, wired.vkey)
        archive = await run_in_threadpool(_tar, directory)
    except BaseException:
        scratch.cleanup()
        raise
    return FileResponse(archive, media_type="application/x-tar", background=BackgroundTask(scratch.cleanup))


def _tar(directory: Path) -> Path:
    archive = directory.with_suffix(".tar")
    with tarfile.open(archive, "w") as tar:
        for file in sorted(directory.iterdir()):
            tar.add(file, arcname=file.name)
    return archive


async def _recomputers(versions: PolicyVersions) -> Recomputers:
    """Every kind of entry that can be made again, with all policies that were ever active."""
    policies = await versions.every()

    def load(version: str) -> Policy:
        if version not in policies:
            raise NotFoundError(
                f"the policy version {version[:80]} is not kept", next_step="watchkeeper policy history"
            )
        return policies[version]

    known = Recomputers()
    known.register(EntryType.DECISION, decision_recomputer(load))
    return known
