"""Verification, done by the daemon over its own rows."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field

from watchkeeper.api.auth import Viewer, Wired
from watchkeeper.core.model import Contract
from watchkeeper.ledger.note import MAX_NOTE_BYTES
from watchkeeper.ledger.verify import VerifyReport

router = APIRouter(tags=["ledger"])


class Anchor(Contract):
    """A checkpoint that you remember: a C2SP signed note."""

    anchor: str | None = Field(default=None, max_length=MAX_NOTE_BYTES)


@router.post("/v1/ledger/verify")
async def verify(given: Anchor, wired: Wired, caller: Viewer) -> VerifyReport:
    """Re-derives the tree from the raw entries. Without an anchor a rollback of the whole log cannot be excluded, and
    the report says so."""
    return await wired.verify(given.anchor)
