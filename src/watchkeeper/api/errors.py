"""Errors as JSON: what happened, the likely cause, the next step.

Nothing of our inside is shown for an unknown error, and a malformed value is not echoed.
"""

from __future__ import annotations

from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from watchkeeper.core.errors import WatchkeeperError
from watchkeeper.core.model import Contract
from watchkeeper.core.yamldoc import closest, unknown_key

log = structlog.get_logger(__name__)


RETRY_AFTER_S = "5"
"""What senders are told while signals cannot be made durable; OTLP exporters keep to it."""
_ROUTING_CODES = {404: "not_found", 405: "method_not_allowed"}


class Problem(Contract):
    """The body of every 4xx and 5xx."""

    code: str
    what: str
    place: str = ""
    cause: str = ""
    next: str = ""

    @classmethod
    def of(cls, error: WatchkeeperError) -> Problem:
        return cls(code=error.code, what=error.what, place=error.place, cause=error.cause, next=error.next_step)


def install(app: FastAPI) -> None:
    @app.exception_handler(WatchkeeperError)
    async def _known(request: Request, error: WatchkeeperError) -> JSONResponse:
        problem = Problem.of(error)
        later = {"Retry-After": RETRY_AFTER_S} if error.http_status == 503 else {}
        return JSONResponse(problem.model_dump(), status_code=error.http_status, headers=later)

    @app.exception_handler(HTTPException)
    async def _routing(request: Request, error: HTTPException) -> JSONResponse:
        """No such path, or not with this method."""
        code = _ROUTING_CODES.get(error.status_code, "bad_request")
        problem = Problem(
            code=code, what=f"{request.method} {request.url.path}: {error.detail}", next="see GET /openapi.json"
        )
        return JSONResponse(problem.model_dump(), status_code=error.status_code, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        problem = Problem(
            code="bad_input", what=_told(request, first), place=place, next="see GET /openapi.json for the shape"
        )
        return JSONResponse(problem.model_dump(), status_code=422)

    @app.exception_handler(Exception)
    async def _unknown(request: Request, error: Exception) -> JSONResponse:
        log.error("request_failed", path=request.url.path, exc_info=error)
        problem = Problem(code="error", what="the daemon failed on this request", next="see the daemon's log")
        return JSONResponse(problem.model_dump(), status_code=500)


def _told(request: Request, error: dict[str, Any]) -> str:
    """With the word that was probably meant; the one that was written is not repeated."""
    what: str = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        body = getattr(request.scope.get("route"), "body_field", None)
        model = None if body is None else body.field_info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            return unknown_key(model, error["loc"][1:])
    if error["type"] in ("enum", "literal_error") and isinstance(error["input"], str):
        what += closest(error["input"], error["ctx"]["expected"])
    return what
