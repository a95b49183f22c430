"""What the log holds and costs."""

from __future__ import annotations

from fastapi import APIRouter

from watchkeeper.api.auth import Viewer, Wired
from watchkeeper.ledger.stats import LedgerStats, stats

router = APIRouter(tags=["ledger"])


@router.get("/v1/ledger/stats")
async def figures(wired: Wired, caller: Viewer) -> LedgerStats:
    """Exact where an index answers; counts by kind are over the newest entries (`sampled` says how many)."""
    return await stats(wired.store, wired.clock.now())
