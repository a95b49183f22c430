"""The signed log as files, in one stream: a tar that is made while it is read."""

from __future__ import annotations

import tarfile
from collections.abc import AsyncIterator

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from watchkeeper.api.auth import Viewer, Wired
from watchkeeper.core.errors import LedgerError
from watchkeeper.ledger.exports.members import Format, Member, members
from watchkeeper.policies.replay.kept import policy_files

router = APIRouter(tags=["ledger"])


@router.get("/v1/ledger/export", response_class=StreamingResponse)
async def exported(wired: Wired, caller: Viewer, form: Format = Format.BOTH) -> StreamingResponse:
    """Everything up to the newest checkpoint, as a tar of the export's files, with the policies that its decisions
    name; `vkey` is the last of them, so that a tar without it is not whole."""
    files = members(wired.log, wired.vkey, form, policy_files(*await wired.versions.kept()))
    first = await anext(files)  # an empty log is told now, while there is still a status to tell it with
    return StreamingResponse(_tar(first, files), media_type="application/x-tar")


async def _tar(first: Member, others: AsyncIterator[Member]) -> AsyncIterator[bytes]:
    async for piece in _file(first):
        yield piece
    async for member in others:
        async for piece in _file(member):
            yield piece
    yield bytes(2 * tarfile.BLOCKSIZE)


async def _file(member: Member) -> AsyncIterator[bytes]:
    header = tarfile.TarInfo(member.name)
    header.size = member.size
    yield header.tobuf(tarfile.GNU_FORMAT)
    sent = 0
    async for piece in member.pieces:
        sent += len(piece)
        yield piece
    if sent != member.size:
        raise LedgerError(
            f"{member.name} has {sent} bytes instead of {member.size}",
            cause="rows of the ledger were changed while it was exported",
            next_step="watchkeeper ledger verify",
        )
    yield bytes(-member.size % tarfile.BLOCKSIZE)
