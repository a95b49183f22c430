"""Sequenced entries, to read."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from watchkeeper.api.auth import Viewer, Wired
from watchkeeper.core.entries import EntryType
from watchkeeper.ledger.reader import Entry

router = APIRouter(tags=["ledger"])


@router.get("/v1/ledger/entries")
async def entries(
    wired: Wired,
    caller: Viewer,
    after: int = Query(default=-1, ge=-1),
    limit: int = Query(default=100, ge=1, le=1000),
    subject: str | None = None,
    kinds: Annotated[list[EntryType] | None, Query(alias="type")] = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
) -> list[Entry]:
    """Sequenced entries with an index greater than `after` that fit every filter, oldest first; `type` may be given
    again, and since <= time < until."""
    return await wired.log.find(
        subject=subject, types=tuple(kinds or ()), since=since, until=until, after=after, limit=limit
    )


@router.get("/v1/ledger/tail")
async def tail(wired: Wired, caller: Viewer, count: int = Query(default=20, ge=1, le=1000)) -> list[Entry]:
    """The newest entries, oldest first."""
    return await wired.log.tail(count)
