"""Proofs that are checked elsewhere, and the bytes that they are about."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import PlainTextResponse

from watchkeeper.api.auth import Viewer, Wired
from watchkeeper.api.ledger.checkpoints import checkpoint as newest
from watchkeeper.api.services import Services
from watchkeeper.core.errors import NotFoundError
from watchkeeper.ledger.cosigning.addcheckpoint import AddCheckpoint
from watchkeeper.ledger.signing.checkpoint import Checkpoint
from watchkeeper.ledger.signing.note import Note
from watchkeeper.ledger.tree.proof import TlogProof
from watchkeeper.ledger.tree.served import checkpoint_at, kept_rows

router = APIRouter(tags=["ledger"])
Which = Annotated[str, Query(max_length=64, description="An entry's index or its id.")]


@router.get("/v1/ledger/proof", response_class=PlainTextResponse)
async def proof(entry: Which, wired: Wired, caller: Viewer) -> str:
    """A C2SP tlog-proof of one entry under the newest checkpoint."""
    index = await _index(entry, wired)
    note = Note.from_text(await newest(wired, caller))
    shown = await wired.log.inclusion(index, Checkpoint.from_text(note.text).size)
    return TlogProof(index, _raw(shown.hashes), note).to_text()


@router.get("/v1/ledger/growth", response_class=PlainTextResponse)
async def growth(
    wired: Wired,
    caller: Viewer,
    old: Annotated[int, Query(ge=0)],
    new: Annotated[int | None, Query(ge=1)] = None,
) -> str:
    """That a checkpoint (of size `new`, or the newest) extends the tree of `old` entries."""
    if new is None:
        text = await newest(wired, caller)
    else:
        async with wired.log.transaction() as tx:
            text = await checkpoint_at(tx, new)
    note = Note.from_text(text)
    shown = await wired.log.consistency(old, Checkpoint.from_text(note.text).size)
    return AddCheckpoint(old, _raw(shown.hashes), note).to_bytes().decode()


@router.get("/v1/ledger/entry", response_class=Response)
async def entry_bytes(entry: Which, wired: Wired, caller: Viewer) -> Response:
    """The exact bytes of one entry: what its leaf is the hash of."""
    index = await _index(entry, wired)
    async with wired.log.transaction() as tx:
        (row,) = await kept_rows(tx, index, index + 1)
    if row.body is None:
        raise NotFoundError(
            f"entry {index} was pruned", cause="its hash is kept", next_step="look for it in the archive"
        )
    return Response(row.body, media_type="application/cloudevents+json")


async def _index(which: str, wired: Services) -> int:
    if which.isascii() and which.isdigit():
        index, size = int(which), await wired.log.size()
        if index >= size:
            raise _unknown(f"entry {which}", f"the log has {size} entries")
        return index
    found = await wired.log.by_id(which)
    if found is None:
        raise _unknown("that entry", "it is no index or id of this log, was pruned, or is not sequenced yet")
    return found.index


def _unknown(what: str, cause: str) -> NotFoundError:
    return NotFoundError(f"{what} is not in this log", cause=cause, next_step="watchkeeper ledger tail")


def _raw(hashes: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(map(b64decode, hashes))
