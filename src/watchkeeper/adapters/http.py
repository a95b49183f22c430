"""HTTP to a target: one bounded exchange, and what its end means for a read and for a write.

A write whose reply is missing, unreadable or a 5xx may have had its effect: it is `unknown`, never an error. Every
other end is an answer or an AdapterError. Connections are not kept open, so "could not connect" proves "not sent".
It does NOT retry: after a 429 it refuses to send again until the target's own Retry-After has passed.
"""

from __future__ import annotations

import asyncio
import json
import math
import secrets
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx
from pydantic import JsonValue, SecretStr

from watchkeeper.adapters.recorder import Call, CallRecorder, CallResult, Reply
from watchkeeper.core.canonical import canonical
from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import AdapterError

MAX_REPLY_BYTES = 1 << 20
MAX_RETRY_AFTER_S = 300.0
DEFAULT_RETRY_AFTER_S = 5.0
SYSTEM_RANDOM = secrets.SystemRandom()
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class HttpError(AdapterError):
    """The target answered, and did nothing. `status` is its HTTP status."""

    def __init__(
        self,
        what: str,
        *,
        status: int,
        retryable: bool,
        cause: str = "",
        next_step: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(what, retryable=retryable, cause=cause, next_step=next_step, retry_after_s=retry_after_s)
        self.status = status


@dataclass(frozen=True, slots=True)
class WriteCall:
    """One write: `operation` is what the ledger calls it."""

    operation: str
    method: str
    path: str
    body: JsonValue


class TooLargeError(Exception):
    """A reply over its bound; caught here, never seen outside."""


class TooLateError(Exception):
    """The deadline passed while we connected; caught here, never seen outside."""


class HttpTarget:
    """One base URL with one credential, which leaves this object only as a request header."""

    def __init__(
        self,
        name: str,
        base_url: str,
        key: SecretStr,
        recorder: CallRecorder,
        clock: Clock,
        *,
        reply_s: float,
        jitter: Callable[[], float] = SYSTEM_RANDOM.random,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.name = name
        self._recorder, self._clock, self._reply_s, self._jitter = recorder, clock, reply_s, jitter
        self._not_before = -math.inf
        self._client = httpx.AsyncClient(
            base_url=base_url,
            auth=_Bearer(key),
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "watchkeeper"},
            limits=httpx.Limits(max_connections=8, max_keepalive_connections=0),
            transport=transport,
            trust_env=False,
            follow_redirects=False,
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def read(
        self, operation: str, path: str, params: Mapping[str, str] | None = None, *, max_bytes: int = MAX_REPLY_BYTES
    ) -> JsonValue:
        """The JSON at `path`. Raises AdapterError (HttpError with its status when the target answered)."""
        self._respect_429(operation)
        request = self._client.build_request("GET", path, params=dict(params or {}))
        call = Call(self.name, operation, _described(request, None), write=False)

        async def transport() -> Reply:
            return await self._exchange(request, self._reply_s, self._reply_s, max_bytes, write=False)

        reply = await self._recorder.send(call, transport)
        if reply.result != "ok":
            raise self._error(operation, reply)
        return _parsed(reply.body)

    async def write(
        self, call: WriteCall, deadline: datetime, *, headers: Mapping[str, str], sending: Callable[[], None]
    ) -> Reply:
        """Sends once, if the deadline has not passed when its first byte leaves; `sending` is called before we connect.

        The reply is `ok`, `unknown`, or `not_sent` with `deadline_passed` or `authority_lost` (the recorder asks the
        claim's holder right before); a refusal, and a target that could not be reached, are AdapterErrors.
        """
        self._respect_429(call.operation)
        request = self._client.build_request(call.method, call.path, json=call.body, headers=dict(headers))

        async def last_look(event: str, info: object) -> None:
            """Connecting may have taken its time; behind this comes the first byte."""
            if event.endswith("send_request_headers.started") and self._clock.now() >= deadline:
                raise TooLateError

        async def transport() -> Reply:
            left = (deadline - self._clock.now()).total_seconds()
            if left <= 0:
                return Reply("not_sent", "deadline_passed")
            sending()
            request.extensions = {**request.extensions, "trace": last_look}
            connect_s = min(left, self._reply_s)
            return await self._exchange(request, connect_s, left + self._reply_s, MAX_REPLY_BYTES, write=True)

        recorded = Call(self.name, call.operation, _described(request, call.body), write=True)
        reply = await self._recorder.send(recorded, transport)
        if reply.result in ("ok", "unknown") or reply.code in ("deadline_passed", "authority_lost"):
            return reply
        raise self._error(call.operation, reply)

    async def _exchange(
        self, request: httpx.Request, connect_s: float, total_s: float, max_bytes: int, *, write: bool
    ) -> Reply:
        timeout = httpx.Timeout(total_s, connect=connect_s, pool=connect_s)
        request.extensions = {**request.extensions, "timeout": timeout.as_dict()}
        try:
            async with asyncio.timeout(total_s):
                response = await self._client.send(request, stream=True)
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
        retry_after = None
        if status == 429 or (status == 503 and "retry-after" in response.headers):
            retry_after = self._retry_after(response.headers.get("retry-after"))
            self._not_before = self._clock.monotonic() + retry_after
        code, result = f"http_{status}", _result(status, write=write)
        if result == "ok" and not _is_json(media_type, body):
            code, result = "bad_reply", "unknown"
        return Reply(
            result, code, status, body, media_type.partition(";")[0] or "application/octet-stream", retry_after
        )

    def _retry_after(self, header: str | None) -> float:
        """The target's own wait, or a default; then up to a fifth more, so that not everybody comes back at once."""
        wait = DEFAULT_RETRY_AFTER_S
        if header is not None:
            wait = _seconds(header, self._clock.now())
        return min(max(wait, 0.0), MAX_RETRY_AFTER_S) * (1 + 0.2 * self._jitter())

    def _respect_429(self, operation: str) -> None:
        left = self._not_before - self._clock.monotonic()
        if left > 0:
            raise AdapterError(
                f"{operation} was not sent: {self.name} asked us to wait",
                retryable=True,
                cause="the gateway, or a proxy before it, limits admin calls",
                next_step="wait; the daemon tries again by itself",
                retry_after_s=left,
            )

    def _error(self, operation: str, reply: Reply) -> AdapterError:
        if reply.status is None or reply.code == "bad_reply":
            return self._unreachable(operation, reply)
        what = f"{operation}: {self.name} answered HTTP {reply.status}"
        cause, next_step = _HINTS.get(reply.status, ("", ""))
        if reply.status >= 500:
            cause, next_step = "the gateway or its database has trouble of its own", "look at the gateway's log"
        elif not cause:
            cause, next_step = (
                "this version of the gateway wants something else",
                "watchkeeper ledger show INCIDENT has the reply; see docs/adapters.md",
            )
        return HttpError(
            what,
            status=reply.status,
            retryable=reply.status >= 500 or reply.status in (408, 429),
            cause=cause.replace("NAME", self.name),
            next_step=next_step.replace("NAME", self.name),
            retry_after_s=reply.retry_after_s,
        )

    def _unreachable(self, operation: str, reply: Reply) -> AdapterError:
        cause = {
            "unreachable": "the gateway is down, or base_url is wrong",
            "timeout": "the gateway is overloaded or hangs",
            "reply_lost": "the gateway or a proxy closed the connection in the middle",
            "bad_reply": "not the gateway answers there (a sign-in page?), or the reply is cut or too large",
        }[reply.code]
        return AdapterError(
            f"{operation}: no usable answer from {self.name} ({reply.code})",
            retryable=True,
            cause=cause,
            next_step="try GET /health/readiness on the gateway by hand",
        )


_HINTS = {
    401: (
        "the gateway does not know the admin key of NAME",
        "set admin_key of NAME in the settings",
    ),
    403: ("the admin key of NAME may not do this", "give it a key with the proxy_admin role"),
    404: ("it does not exist there, or not any more", "watchkeeper incidents: the target may be gone"),
    405: ("something before the gateway blocks this method", "let the daemon reach the gateway's admin API"),
    409: ("somebody else changed it at the same time", "the plan is made again by itself"),
    422: ("the gateway does not take one of the values", "look at the runbook's parameters"),
    429: ("the gateway, or a proxy before it, limits admin calls", "wait; the daemon tries again by itself"),
}


class _Bearer(httpx.Auth):
    def __init__(self, key: SecretStr) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        yield request


def _result(status: int, *, write: bool) -> CallResult:
    if 200 <= status < 300:
        return "ok"
    if write and (status >= 500 or status == 408):
        return "unknown"
    return "refused"


def _is_json(media_type: str, body: bytes) -> bool:
    if "json" not in media_type.lower():
        return False
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


def _parsed(body: bytes) -> JsonValue:
    value: JsonValue = json.loads(body)
    return value


async def _body(response: httpx.Response, max_bytes: int) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > max_bytes:
            raise TooLargeError
        parts.append(part)
    return b"".join(parts)


def _described(request: httpx.Request, body: JsonValue) -> bytes:
    """What is recorded of a request: no header, so no credential."""
    return canonical(
        {"method": request.method, "path": request.url.path, "query": request.url.query.decode(), "body": body}
    )


def _seconds(header: str, now: datetime) -> float:
    """Retry-After: seconds, or a date."""
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
