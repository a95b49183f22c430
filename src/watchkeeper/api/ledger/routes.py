"""All of the ledger's routes, put together."""

from __future__ import annotations

from fastapi import APIRouter

from watchkeeper.api.ledger import checkpoints, checks, entries, exports, proofs, replays, tlog

router = APIRouter()
for part in (entries, checkpoints, checks, replays, exports, tlog, proofs):
    router.include_router(part.router)
