"""The log as C2SP tlog-tiles: whoever speaks that follows it with their own tools, below this prefix."""

from __future__ import annotations

import gzip
from typing import Annotated

from fastapi import APIRouter, Header, Response
from fastapi.responses import PlainTextResponse
from starlette.concurrency import run_in_threadpool

from watchkeeper.api.auth import Viewer, Wired
from watchkeeper.api.ledger.checkpoints import checkpoint as newest
from watchkeeper.core.errors import NotFoundError
from watchkeeper.ledger.tree.served import tile as served
from watchkeeper.ledger.tree.tilepath import TilePath

PREFIX = "/v1/ledger/tlog"
FOR_EVER = "private, max-age=31536000, immutable"
"""Tiles never change. They are for who may read the ledger, so only their own caches keep them."""
FOR_SECONDS = "private, max-age=2"

router = APIRouter(tags=["ledger"])


@router.get(f"{PREFIX}/checkpoint", response_class=PlainTextResponse)
async def checkpoint(wired: Wired, caller: Viewer) -> PlainTextResponse:
    """The newest checkpoint, as tlog-tiles serves it."""
    return PlainTextResponse(await newest(wired, caller), headers={"Cache-Control": FOR_SECONDS})


@router.get(PREFIX + "/tile/{path:path}", response_class=Response)
async def tile(
    path: str, wired: Wired, caller: Viewer, accept_encoding: Annotated[str, Header(max_length=1000)] = ""
) -> Response:
    """A tile of hashes (`LEVEL/NUMBER`) or a bundle of entries (`entries/NUMBER`), whole or partial (`.p/WIDTH`)."""
    try:
        wanted = TilePath.from_text(f"tile/{path}")
    except ValueError as error:
        raise NotFoundError(f"no such tile: {error}", next_step="see docs/verifying.md, Tiles") from error
    async with wired.store.read() as tx:
        body = await served(tx, wanted)
    headers = {"Cache-Control": FOR_EVER}
    if wanted.level is None:
        headers["Vary"] = "Accept-Encoding"
        if _takes_gzip(accept_encoding):
            headers["Content-Encoding"] = "gzip"
            body = await run_in_threadpool(gzip.compress, body, 6, mtime=0)
    return Response(body, media_type="application/octet-stream", headers=headers)


def _takes_gzip(accepted: str) -> bool:
    for each in accepted.split(","):
        coding, _, weight = each.partition(";")
        if coding.strip().lower() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
