"""Pruning by hand, and what would go."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from watchkeeper.api.auth import Admin, Operator, Wired
from watchkeeper.api.streams import followed
from watchkeeper.core.model import Contract

router = APIRouter(tags=["ledger"])


class Pruning(Contract):
    """`dry`: say what would go, and delete nothing."""

    dry: bool = True


@router.post("/v1/ledger/prune")
async def prune(given: Pruning, wired: Wired, caller: Operator) -> StreamingResponse:
    """Deletes evidence that its kind is kept for no longer. Told line by line, the report last."""
    return followed(wired.upkeep.evidence.run(dry=given.dry))


@router.post("/v1/ledger/prune/entries")
async def prune_entries(given: Pruning, wired: Wired, caller: Admin) -> StreamingResponse:
    """Deletes entries that are old enough, once they were read back from the archive. Told line by line, the report
    last."""
    return followed(wired.upkeep.entries.run(dry=given.dry))
