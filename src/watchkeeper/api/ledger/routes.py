"""All of the ledger's routes, put together."""

from __future__ import annotations

from fastapi import APIRouter

from watchkeeper.api.ledger import (
    archives,
    checkpoints,
    checks,
    entries,
    erasing,
    exports,
    figures,
    incident_replay,
    proofs,
    prunings,
    replays,
    tlog,
    witnesses,
)

READING = (entries, figures, checkpoints, checks, proofs, replays, incident_replay, exports, tlog, witnesses)
KEEPING = (erasing, archives, prunings)

router = APIRouter()
for part in (*READING, *KEEPING):
    router.include_router(part.router)
