"""All of the ledger's routes, put together."""

from __future__ import annotations

from fastapi import APIRouter

from watchkeeper.api.ledger import checkpoints, checks, entries, exports, incident_replay, replays

router = APIRouter()
for part in (entries, checkpoints, checks, replays, incident_replay, exports):
    router.include_router(part.router)
