"""The signed log as files."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from watchkeeper.api.auth import Viewer, Wired
from watchkeeper.ledger.export import export
from watchkeeper.policies.kept import write_policies

router = APIRouter(tags=["ledger"])


@router.get("/v1/ledger/export", response_class=FileResponse)
async def exported(wired: Wired, caller: Viewer) -> FileResponse:
    """Everything up to the newest checkpoint, as a tar of the export's files, with the policies that it names."""
    scratch = tempfile.TemporaryDirectory(prefix="watchkeeper-export-")
    try:
        directory = Path(scratch.name) / "export"
        await export(wired.log, directory, wired.vkey)
        write_policies(directory, *await wired.versions.kept())
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
