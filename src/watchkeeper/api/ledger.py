"""The ledger, read-only: entries, checkpoint, proofs, verification. What it says can be checked without trusting it."""

from __future__ import annotations

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse

from watchkeeper.api.auth import Viewer, Wired
from watchkeeper.core.errors import NotFoundError
from watchkeeper.core.model import Contract
from watchkeeper.ledger.reader import Entry
from watchkeeper.ledger.verify import VerifyReport

router = APIRouter(tags=["ledger"])


class LogKey(Contract):
    """The verifier key of this log, in C2SP's vkey form: remember it out of band."""

    vkey: str


@router.get("/v1/ledger/entries")
async def entries(
    wired: Wired,
    caller: Viewer,
    after: int = Query(default=-1, ge=-1),
    limit: int = Query(default=100, ge=1, le=1000),
    subject: str | None = None,
) -> list[Entry]:
    """Sequenced entries with an index greater than `after`, oldest first."""
    if subject is not None:
        return [e for e in await wired.log.by_subject(subject) if e.index > after][:limit]
    return await wired.log.entries(after + 1, after + 1 + limit)


@router.get("/v1/ledger/checkpoint", response_class=PlainTextResponse)
async def checkpoint(wired: Wired, caller: Viewer) -> str:
    """The newest signed checkpoint, a C2SP signed note."""
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
async def verify(wired: Wired, caller: Viewer, anchor: str | None = None) -> VerifyReport:
    """Re-derives the tree from the raw entries. `anchor` is a checkpoint you remember: without one, a rollback of the
    whole log cannot be excluded, and the report says so."""
    return await wired.verify(anchor)
