"""The recorded way to an HTTP target: every call of an adapter's own client, or of an official one, leaves by here.

It respects a target's wish to be left alone, hands each call to the recorder, and turns its end into a Reply or an
error of the one tree. It does NOT retry.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Callable
from datetime import datetime

import httpx
from pydantic import JsonValue

from watchkeeper.adapters.dialect import Dialect
from watchkeeper.adapters.exchange import MAX_REPLY_BYTES, Exchange
from watchkeeper.adapters.recorder import Call, CallRecorder, Reply
from watchkeeper.core.canonical import canonical
from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import AdapterError

MAX_RETRY_AFTER_S = 300.0
SYSTEM_RANDOM = secrets.SystemRandom()


class HttpError(AdapterError):
    """The target answered, and did nothing. `status` is its HTTP status, `own_code` its own word for the error."""

    def __init__(
        self,
        what: str,
        *,
        status: int,
        own_code: str = "",
        retryable: bool,
        cause: str = "",
        next_step: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(what, retryable=retryable, cause=cause, next_step=next_step, retry_after_s=retry_after_s)
        self.status, self.own_code = status, own_code


class Wire:
    """One target's exchange under its name. `reply_s`: how long an answer may take."""

    def __init__(
        self,
        name: str,
        exchange: Exchange,
        dialect: Dialect,
        recorder: CallRecorder,
        clock: Clock,
        *,
        reply_s: float,
        jitter: Callable[[], float] = SYSTEM_RANDOM.random,
    ) -> None:
        self.name, self.reply_s = name, reply_s
        self._exchange, self._dialect, self._recorder, self._clock = exchange, dialect, recorder, clock
        self._jitter, self._not_before = jitter, -math.inf

    async def close(self) -> None:
        await self._exchange.client.aclose()

    async def read(self, operation: str, request: httpx.Request, max_bytes: int = MAX_REPLY_BYTES) -> Reply:
        """An `ok` reply. Raises AdapterError (HttpError with its status when the target answered)."""
        self._respect_wait(operation)
        call = Call(self.name, operation, described(request), write=False)

        async def transport() -> Reply:
            return await self._exchange.read(request, self.reply_s, max_bytes)

        reply = self._noted(await self._recorder.send(call, transport))
        if reply.result != "ok":
            raise self._error(operation, reply)
        return reply

    async def write(
        self, operation: str, request: httpx.Request, deadline: datetime, sending: Callable[[], None]
    ) -> Reply:
        """Sends once, if the deadline has not passed when its first byte leaves; `sending` is called before we connect.

        The reply is `ok`, `unknown`, or `not_sent` with `deadline_passed` or `authority_lost` (the recorder asks the
        claim's holder right before); a refusal, and a target that could not be reached, are AdapterErrors.
        """
        self._respect_wait(operation)

        async def transport() -> Reply:
            if self._clock.now() < deadline:
                sending()
            return await self._exchange.write(request, deadline, self.reply_s)

        call = Call(self.name, operation, described(request), write=True)
        reply = self._noted(await self._recorder.send(call, transport))
        if reply.result in ("ok", "unknown") or reply.code in ("deadline_passed", "authority_lost"):
            return reply
        raise self._error(operation, reply)

    def _noted(self, reply: Reply) -> Reply:
        """The target's own wait, or a default; then up to a fifth more, so that not everybody comes back at once."""
        if reply.retry_after_s is None:
            return reply
        wait = min(max(reply.retry_after_s, 0.0), MAX_RETRY_AFTER_S) * (1 + 0.2 * self._jitter())
        self._not_before = self._clock.monotonic() + wait
        return reply.after(wait)

    def _respect_wait(self, operation: str) -> None:
        left = self._not_before - self._clock.monotonic()
        if left > 0:
            raise AdapterError(
                f"{operation} was not sent: {self.name} asked us to wait",
                retryable=True,
                cause=f"{self._dialect.what}, or a proxy before it, limits calls",
                next_step="wait; the daemon tries again by itself",
                retry_after_s=left,
            )

    def _error(self, operation: str, reply: Reply) -> AdapterError:
        if reply.status is None or reply.code == "bad_reply":
            return self._unreachable(operation, reply)
        code = self._dialect.error_code(reply.body)
        cause, next_step = self._dialect.hint(reply.status, code)
        waits = reply.retry_after_s is not None
        return HttpError(
            f"{operation}: {self.name} answered HTTP {reply.status}{f' {code}' if code else ''}",
            status=reply.status,
            own_code=code,
            retryable=waits or reply.status >= 500 or reply.status in (408, 429) or code in self._dialect.retryable,
            cause=cause.replace("NAME", self.name),
            next_step=next_step.replace("NAME", self.name),
            retry_after_s=reply.retry_after_s,
        )

    def _unreachable(self, operation: str, reply: Reply) -> AdapterError:
        what = self._dialect.what
        cause = {
            "unreachable": f"{what} is down, or its address is wrong",
            "timeout": f"{what} is overloaded or hangs",
            "reply_lost": f"{what} or a proxy closed the connection in the middle",
            "bad_reply": f"not {what} answers there (a sign-in page?), or the reply is cut or too large",
        }[reply.code]
        return AdapterError(
            f"{operation}: no usable answer from {self.name} ({reply.code})",
            retryable=True,
            cause=cause,
            next_step=self._dialect.probe,
        )


def described(request: httpx.Request) -> bytes:
    """What is recorded of a request: no header, so no credential."""
    return canonical(
        {
            "method": request.method,
            "path": request.url.path,
            "query": request.url.query.decode(),
            "body": _readable(request.content),
        }
    )


def _readable(body: bytes) -> JsonValue:
    if not body:
        return None
    try:
        value: JsonValue = json.loads(body)
    except (ValueError, RecursionError):
        return body.decode(errors="replace")
    return value
