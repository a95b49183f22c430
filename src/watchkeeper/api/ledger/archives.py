"""The archive, made and checked by hand."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from watchkeeper.api.auth import Operator, Viewer, Wired
from watchkeeper.api.streams import followed

router = APIRouter(tags=["ledger"])


@router.post("/v1/ledger/archive")
async def archive(wired: Wired, caller: Operator) -> StreamingResponse:
    """Copies all that is signed and fills a bundle to the archive. Told line by line, the report last."""
    return followed(wired.upkeep.archive().run())


@router.post("/v1/ledger/archive/check")
async def check(wired: Wired, caller: Viewer) -> StreamingResponse:
    """Reads the whole archive, checks it by itself and against this database. Told line by line, the report last."""
    return followed(wired.upkeep.check())
