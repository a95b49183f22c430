"""Whose fault an unsuccessful call was, from what a span or a gateway's log says of it.

A provider's 429 and one by a limit of our own look alike but for the words; where they do not tell, the provider is
taken to have answered it. That the words are true is NOT guaranteed.
"""

from __future__ import annotations

import re

from watchkeeper.core.signals import ErrorClass

MAX_MESSAGE = 2_000

_LIMITED = re.compile(
    r"budget.?exceeded|exceeded(token)?.?budget|over .{0,16}budget|crossed (tpm|rpm|budget)"
    r"|max.?parallel.?request|limit type:|rate limit handler|max.?iterations",
    re.IGNORECASE,
)
_TIMEOUT = re.compile(r"time.?out|deadline.?exceeded", re.IGNORECASE)
_RATE = re.compile(r"rate.?limit|too.?many.?requests|throttl|resource.?exhausted", re.IGNORECASE)
_SERVER = re.compile(
    r"server.?error|service.?unavailable|bad.?gateway|overloaded|unavailable|connect(ion)?.?(error|refused|reset)"
    r"|api.?connection|remote.?protocol|name.?resolution",
    re.IGNORECASE,
)
_AUTH = re.compile(r"authenticat|permission.?denied|unauthori[sz]ed|forbidden|access.?denied", re.IGNORECASE)
_CLIENT = re.compile(
    r"bad.?request|invalid.?request|unprocessable|not.?found|context.?window|content.?policy|value.?error",
    re.IGNORECASE,
)
_BY_WORD = (
    (_TIMEOUT, ErrorClass.TIMEOUT),
    (_RATE, ErrorClass.RATE_LIMITED),
    (_AUTH, ErrorClass.AUTH),
    (_CLIENT, ErrorClass.CLIENT),
    (_SERVER, ErrorClass.SERVER),
)

_UPSTREAM = ("vendor", "provider", "upstream")
"""The words that begin a limiter's category where the limit is the provider's."""


def error_class(*, status: int | None = None, kind: str = "", message: str = "", limiter: str = "") -> ErrorClass:
    """`kind` is the error's type or class, `limiter` the gateway's word for who limited the call."""
    said = f"{kind[:MAX_MESSAGE]} {message[:MAX_MESSAGE]}"
    if _LIMITED.search(said) or (limiter and not limiter.lower().startswith(_UPSTREAM)):
        return ErrorClass.LIMITED
    status = status or _status_in(kind)
    if status is not None and status >= 400:
        return _of_status(status)
    return next((found for pattern, found in _BY_WORD if pattern.search(kind)), ErrorClass.OTHER)


def _status_in(kind: str) -> int | None:
    """OpenTelemetry writes the status as `error.type` where nothing better is known."""
    bare = kind.strip()
    return int(bare) if len(bare) == 3 and bare.isascii() and bare.isdigit() else None


def _of_status(status: int) -> ErrorClass:
    match status:
        case 429:
            return ErrorClass.RATE_LIMITED
        case 408 | 504:
            return ErrorClass.TIMEOUT
        case 401 | 403 | 407:
            return ErrorClass.AUTH
        case _ if status >= 500:
            return ErrorClass.SERVER
        case _:
            return ErrorClass.CLIENT
