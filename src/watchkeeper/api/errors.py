"""Errors as JSON: what happened, the likely cause, the next step. Nothing of our inside is shown for an unknown error."""

from __future__ import annotations

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from watchkeeper.core.errors import WatchkeeperError
from watchkeeper.core.model import Contract

log = structlog.get_logger(__name__)


class Problem(Contract):
    """The body of every 4xx and 5xx."""

    code: str
    what: str
    place: str = ""
    cause: str = ""
    next: str = ""


def install(app: FastAPI) -> None:
    @app.exception_handler(WatchkeeperError)
    async def _known(request: Request, error: WatchkeeperError) -> JSONResponse:
        problem = Problem(
            code=error.code, what=error.what, place=error.place, cause=error.cause, next=error.next_step
        )
        return JSONResponse(problem.model_dump(), status_code=error.http_status)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        problem = Problem(code="bad_input", what=first["msg"], place=place, next="see /docs for the expected shape")
        return JSONResponse(problem.model_dump(), status_code=422)

    @app.exception_handler(Exception)
    async def _unknown(request: Request, error: Exception) -> JSONResponse:
        log.error("request_failed", path=request.url.path, exc_info=error)
        problem = Problem(code="error", what="the daemon failed on this request", next="see the daemon's log")
        return JSONResponse(problem.model_dump(), status_code=500)
