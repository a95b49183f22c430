"""The one way out: every call that an adapter makes to a target goes through the recorder.

Before a write is sent its request is durable and its claim is known; then, last of all, whoever holds the claim is
asked whether it may still be sent (invariant 2). After the reply, or its absence, the call is an entry. A record that
cannot be written before the send stops the send; one that cannot be written after it is a LedgerError, never a failed
effect. Reads are recorded when they are made for an incident.
It does NOT decide what a reply means: the transport that it is given says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from watchkeeper.core.clock import Clock
from watchkeeper.core.entries import CallRecorded
from watchkeeper.core.errors import AdapterError, LedgerError, WatchkeeperError
from watchkeeper.core.evidence import EvidenceRef
from watchkeeper.core.ids import ClaimId, IncidentId, new_id

MAX_KEPT_BYTES = 65_536
"""A longer body is kept up to here; its media type then says `; cut`."""

CallResult = Literal["ok", "refused", "unknown", "not_sent"]


@dataclass(frozen=True, slots=True)
class Call:
    """`operation` is enumerated by the adapter (`key.update`); `body` is the request without its credentials."""

    adapter: str
    operation: str
    body: bytes
    write: bool


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. `code` is enumerated: `http_200`, `timeout`, `reply_lost`, `bad_reply`, `unreachable`,
    `deadline_passed`, `authority_lost`."""

    result: CallResult
    code: str
    status: int | None = None
    body: bytes = b""
    media_type: str = "application/json"
    retry_after_s: float | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    """The reply's own, in lower case: for the client that reads it. They are not recorded."""
    kept: bytes | None = field(default=None, compare=False)
    """What is recorded in the body's place, where that holds what is not for the record."""

    def after(self, retry_after_s: float) -> Reply:
        """The same, with another time to wait."""
        return replace(self, retry_after_s=retry_after_s)


class Redacts(Protocol):
    def redact(self, body: bytes) -> bytes: ...


class CallSink(Protocol):
    """Where calls are kept."""

    async def begin(self, call: Call, media_type: str) -> EvidenceRef:
        """Makes the request (redacted and bounded) durable; when this fails nothing is sent."""
        ...

    async def finish(self, call: CallRecorded, reply: bytes | None, media_type: str) -> None:
        """Writes the entry, with the reply (if any came) as evidence."""
        ...


MaySend = Callable[[], Awaitable[bool]]
"""Whether authority and deadline of the claim still stand; asked when nothing but the send is left to do."""


@dataclass(frozen=True, slots=True)
class CallScope:
    incident: IncidentId | None = None
    claim: ClaimId | None = None
    may_send: MaySend | None = None


_scope: ContextVar[CallScope] = ContextVar("watchkeeper_call_scope", default=CallScope())  # noqa: B039 - frozen


@contextmanager
def under(*, incident: IncidentId, claim: ClaimId | None = None, may_send: MaySend | None = None) -> Iterator[None]:
    """Calls made inside belong to this incident, and are made under this claim. A write without `may_send` is refused:
    who only observes gives none."""
    token = _scope.set(CallScope(incident, claim, may_send))
    try:
        yield
    finally:
        _scope.reset(token)


class CallRecorder:
    """Shared by all adapters of a process."""

    def __init__(self, sink: CallSink, redactor: Redacts, clock: Clock) -> None:
        self._sink, self._redactor, self._clock = sink, redactor, clock

    async def send(self, call: Call, transport: Callable[[], Awaitable[Reply]]) -> Reply:
        """Sends through `transport`, which reads the deadline itself and raises nothing that it can name."""
        scope = _scope.get()
        if call.write and (scope.claim is None or scope.may_send is None):
            raise AdapterError(
                f"{call.operation} on {call.adapter} was not sent: there is no claim to send it under",
                retryable=False,
                cause="a write was made outside recorder.under(claim=..., may_send=...)",
                next_step="report this as a bug: every effect needs a claim",
            )
        if scope.incident is None:
            return await transport()
        body, media_type = self._bounded(call.body, "application/json")
        try:
            request = await self._sink.begin(replace(call, body=body), media_type)
        except WatchkeeperError as error:
            raise _unrecorded(call, "was not sent: it cannot be recorded") from error
        started, mono = self._clock.now(), self._clock.monotonic()

        def entry(result: CallResult, status: int | None) -> CallRecorded:
            took = max(0, round((self._clock.monotonic() - mono) * 1000))
            return CallRecorded(
                call=new_id("call", started),
                claim=scope.claim,
                incident=scope.incident,
                adapter=call.adapter,
                operation=call.operation,
                request=request,
                reply=None,
                status=status,
                result=result,
                started=started,
                duration_ms=took,
            )

        may = not call.write or scope.may_send is None or await scope.may_send()
        try:
            reply = await transport() if may else Reply("not_sent", "authority_lost")
        except asyncio.CancelledError:
            # The process is going down with the call on its way: say so before we go.
            await asyncio.shield(self._finish(call, entry("unknown", None), None))
            raise
        await self._finish(call, entry(reply.result, reply.status), reply)
        return reply

    async def _finish(self, call: Call, entry: CallRecorded, reply: Reply | None) -> None:
        body, media_type = None, "application/json"
        if reply is not None and reply.status is not None:
            body, media_type = self._bounded(reply.body if reply.kept is None else reply.kept, reply.media_type)
        try:
            await self._sink.finish(entry, body, media_type)
        except WatchkeeperError as error:
            raise _unrecorded(call, f"ended ({entry.result}) but could not be recorded") from error

    def _bounded(self, body: bytes, media_type: str) -> tuple[bytes, str]:
        """Redacted first, so that no secret is cut in two and missed."""
        clean = self._redactor.redact(body)
        if len(clean) <= MAX_KEPT_BYTES:
            return clean, media_type
        return clean[:MAX_KEPT_BYTES], f"{media_type}; cut"


def _unrecorded(call: Call, what: str) -> LedgerError:
    return LedgerError(
        f"{call.operation} on {call.adapter} {what}",
        cause="the database or the ledger does not take writes",
        next_step="watchkeeper config check; the daemon stops acting until it does",
    )
