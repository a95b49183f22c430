"""All of the ledger's routes, put together."""

from __future__ import annotations

from fastapi import APIRouter

from watchkeeper.api.ledger import archives, checkpoints, checks, entries, exports, prunings, replays

router = APIRouter()
for part in (entries, checkpoints, checks, replays, exports, archives, prunings):
    router.include_router(part.router)
