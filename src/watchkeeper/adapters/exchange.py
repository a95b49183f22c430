"""One bounded HTTP exchange, and what its end means for a read and for a write.

A write whose reply is missing, unreadable or a 5xx may have had its effect: it is `unknown`. Connections are not kept
open, so "could not connect" proves "not sent". The deadline is read once more when the connection stands.
It does NOT retry, record, or decide.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from watchkeeper.adapters.dialect import Dialect
from watchkeeper.adapters.recorder import CallResult, Reply
from watchkeeper.core.clock import Clock

MAX_REPLY_BYTES = 1 << 20
DEFAULT_RETRY_AFTER_S = 5.0
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class TooLargeError(Exception):
    """A reply over its bound; caught here, never seen outside."""


class TooLateError(Exception):
    """The deadline passed while we connected; caught here, never seen outside."""


class Exchange:
    """A client of its own, with no credential: what is sent carries it."""

    def __init__(
        self,
        dialect: Dialect,
        clock: Clock,
        *,
        base_url: str = "",
        auth: httpx.Auth | None = None,
        tls: ssl.SSLContext | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._dialect, self._clock = dialect, clock
        self.client = httpx.AsyncClient(
            base_url=base_url,
            auth=auth,
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "watchkeeper"},
            limits=httpx.Limits(max_connections=8, max_keepalive_connections=0),
            transport=transport,
            verify=tls or True,
            trust_env=False,
            follow_redirects=False,
        )

    async def read(self, request: httpx.Request, total_s: float, max_bytes: int = MAX_REPLY_BYTES) -> Reply:
        return await self._exchange(request, total_s, total_s, max_bytes, write=False)

    async def write(self, request: httpx.Request, deadline: datetime, reply_s: float) -> Reply:
        """`not_sent` with `deadline_passed` when the deadline has passed before the first byte leaves."""
        left = (deadline - self._clock.now()).total_seconds()
        if left <= 0:
            return Reply("not_sent", "deadline_passed")

        async def last_look(event: str, info: object) -> None:
            """Connecting may have taken its time; behind this comes the first byte."""
            if event.endswith("send_request_headers.started") and self._clock.now() >= deadline:
                raise TooLateError

        request.extensions = {**request.extensions, "trace": last_look}
        return await self._exchange(request, min(left, reply_s), left + reply_s, MAX_REPLY_BYTES, write=True)

    async def _exchange(
        self, request: httpx.Request, connect_s: float, total_s: float, max_bytes: int, *, write: bool
    ) -> Reply:
        timeout = httpx.Timeout(total_s, connect=connect_s, pool=connect_s)
        request.extensions = {**request.extensions, "timeout": timeout.as_dict()}
        try:
            async with asyncio.timeout(total_s):
                response = await self.client.send(request, stream=True)
                try:
                    body = await _body(response, max_bytes)
                finally:
                    await response.aclose()
        except NOT_SENT:
            return Reply("not_sent", "unreachable")
        except TooLateError:
            return Reply("not_sent", "deadline_passed")
        except (httpx.TimeoutException, TimeoutError):
            return Reply("unknown", "timeout")
        except httpx.HTTPError:
            return Reply("unknown", "reply_lost")
        except TooLargeError:
            return Reply("unknown", "bad_reply", response.status_code)
        return self._classified(response, body, write=write)

    def _classified(self, response: httpx.Response, body: bytes, *, write: bool) -> Reply:
        status, media_type = response.status_code, response.headers.get("content-type", "")
        headers = {name.lower(): value for name, value in response.headers.items()}
        code, result, retry_after = f"http_{status}", _result(status, write=write), None
        if status >= 400 and self._dialect.throttled(status, headers, self._dialect.error_code(body)):
            result, retry_after = "refused", wanted_wait(headers.get("retry-after"), self._clock.now())
        elif result == "ok" and not self._dialect.readable(media_type, body):
            code, result = "bad_reply", "unknown"
        short = media_type.partition(";")[0] or "application/octet-stream"
        kept = self._dialect.kept(body)
        return Reply(result, code, status, body, short, retry_after, tuple(headers.items()), kept)


def _result(status: int, *, write: bool) -> CallResult:
    if 200 <= status < 300:
        return "ok"
    if write and (status >= 500 or status == 408):
        return "unknown"
    return "refused"


async def _body(response: httpx.Response, max_bytes: int) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > max_bytes:
            raise TooLargeError
        parts.append(part)
    return b"".join(parts)


def wanted_wait(header: str | None, now: datetime) -> float:
    """Retry-After in seconds: a number, or a date; a default where there is none that we understand."""
    if header is None:
        return DEFAULT_RETRY_AFTER_S
    try:
        seconds = float(header)
    except ValueError:
        try:
            until = parsedate_to_datetime(header)
        except ValueError:
            return DEFAULT_RETRY_AFTER_S
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        return (until - now) / timedelta(seconds=1)
    return seconds if math.isfinite(seconds) else DEFAULT_RETRY_AFTER_S
