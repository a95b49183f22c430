"""All of the ledger's routes, put together."""

from __future__ import annotations

from fastapi import APIRouter

from watchkeeper.api.ledger import (
    checkpoints,
    checks,
    entries,
    erasing,
    exports,
    incident_replay,
    replays,
    tlog,
    witnesses,
)

router = APIRouter()
for part in (entries, checkpoints, checks, replays, exports, witnesses, tlog, erasing, incident_replay):
    router.include_router(part.router)
