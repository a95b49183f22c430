"""The HTTP face of a witness (C2SP tlog-witness): add-checkpoint, and the newest checkpoint for monitors.

An application of its own, without tokens: whoever has a checkpoint that a known log signed may show it. TLS and rates
are for the proxy in front of it.
"""

from __future__ import annotations

import asyncio

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse

from watchkeeper import __version__
from watchkeeper.core.errors import InputError, StoreError
from watchkeeper.ledger.cosigning.addcheckpoint import MAX_BODY_BYTES, SIZE_TYPE, AddCheckpoint
from watchkeeper.ledger.cosigning.witness import Refusal, Witness

log = structlog.get_logger(__name__)

READ_S = 10.0
"""How long a body may take to come."""


def create(witness: Witness) -> FastAPI:
    app = FastAPI(title="Watchkeeper witness", version=__version__, openapi_url=None, docs_url=None, redoc_url=None)

    @app.post("/add-checkpoint", response_class=PlainTextResponse)
    async def add_checkpoint(request: Request) -> Response:
        """200 with cosignature lines; 409 with the size to go on from; 400, 403, 404, 422 as the protocol says."""
        try:
            async with asyncio.timeout(READ_S):
                body = await _bounded(request)
            answer = Refusal(413, "too long") if body is None else await witness.add(AddCheckpoint.from_bytes(body))
        except TimeoutError:
            answer = Refusal(408, "the body did not come in time")
        except InputError as error:
            answer = Refusal(400, error.what)
        return PlainTextResponse(answer) if isinstance(answer, str) else _refused(answer)

    @app.get("/{digest}/checkpoint", response_class=PlainTextResponse)
    async def newest(digest: str) -> Response:
        """The newest checkpoint that was cosigned; the digest is the SHA-256 (hex) of the log's origin."""
        note = await witness.newest(digest)
        return (
            PlainTextResponse("nothing is cosigned for such a log\n", 404) if note is None else PlainTextResponse(note)
        )

    @app.get("/healthz", response_class=PlainTextResponse)
    async def alive() -> str:
        return "alive\n"

    @app.exception_handler(StoreError)
    async def unavailable(request: Request, error: StoreError) -> Response:
        log.error("witness_store_unavailable", what=error.what)
        return PlainTextResponse("the witness cannot store now\n", 503)

    return app


def _refused(refusal: Refusal) -> Response:
    log.warning("checkpoint_refused", status=refusal.status, why=refusal.why)
    if refusal.size is not None:
        exactly = {"Content-Type": SIZE_TYPE}  # as media_type it would be given a charset
        return Response(f"{refusal.size}\n", refusal.status, headers=exactly)
    return PlainTextResponse(f"{refusal.why}\n", refusal.status)


async def _bounded(request: Request) -> bytes | None:
    """The body; None when it is too long. What is beyond the bound is not read."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)
