"""All of the ledger's routes, put together."""

from __future__ import annotations

from fastapi import APIRouter

from watchkeeper.api.ledger import checkpoints, checks, entries, exports, figures, replays

router = APIRouter()
for part in (entries, checkpoints, checks, replays, exports, figures):
    router.include_router(part.router)
