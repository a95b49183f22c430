"""The guard for a plain OpenAI client, or anything else that speaks to a model over httpx.

    client = OpenAI(http_client=httpx.Client(transport=transport(Local.from_environment())))

A refusal comes back as the HTTP answer that a gateway would give, and the model is never asked. Run and agent are the
headers `x-watchkeeper-run` and `x-watchkeeper-agent` (`extra_headers`, or the client's `default_headers`). What a
streamed answer used is NOT read: it stays charged with what was expected.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from watchkeeper_guard.guard import RefusedError
from watchkeeper_guard.identity import AGENT_HEADER, RUN_HEADER
from watchkeeper_guard.local import Caller, Local, Ticket

if TYPE_CHECKING:
    import httpx

MOST = 64 << 20
MAYBE_PAID = (408, 499, 504)
"""Time-outs: the model may have answered all the same."""


def transport(local: Local, inner: httpx.BaseTransport | None = None) -> httpx.BaseTransport:
    """For `httpx.Client`."""
    import httpx  # noqa: PLC0415  # not everybody who imports this package has it

    passed = httpx.HTTPTransport() if inner is None else inner

    class GuardTransport(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            body = _body(request)
            if body is None:
                return passed.handle_request(request)
            try:
                ticket = local.enter(body, _caller(request))
            except RefusedError as refused:
                return _answer(refused, request)
            try:
                reply = passed.handle_request(request)
                if not body.get("stream"):
                    reply.read()
            except BaseException:
                ticket.lost()
                raise
            return _ended(reply, ticket, body)

        def close(self) -> None:
            passed.close()

    return GuardTransport()


def async_transport(local: Local, inner: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncBaseTransport:
    """For `httpx.AsyncClient`. A prompt that must be counted is counted in another thread."""
    import asyncio  # noqa: PLC0415

    import httpx  # noqa: PLC0415

    passed = httpx.AsyncHTTPTransport() if inner is None else inner

    class AsyncGuardTransport(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            body = _body(request)
            if body is None:
                return await passed.handle_async_request(request)
            try:
                ticket = await asyncio.to_thread(local.enter, body, _caller(request))
            except RefusedError as refused:
                return _answer(refused, request)
            try:
                reply = await passed.handle_async_request(request)
                if not body.get("stream"):
                    await reply.aread()
            except BaseException:
                ticket.lost()
                raise
            return _ended(reply, ticket, body)

        async def aclose(self) -> None:
            await passed.aclose()

    return AsyncGuardTransport()


def _body(request: httpx.Request) -> dict[str, Any] | None:
    """The JSON of a call to a model; None: something else, which is not judged."""
    if request.method != "POST" or "json" not in request.headers.get("content-type", ""):
        return None
    try:
        found = json.loads(request.content) if len(request.content) <= MOST else None
    except ValueError:
        return None
    return found if isinstance(found, dict) and "model" in found else None


def _caller(request: httpx.Request) -> Caller:
    return Caller(run=request.headers.get(RUN_HEADER, ""), agent=request.headers.get(AGENT_HEADER, ""))


def _answer(refused: RefusedError, request: httpx.Request) -> httpx.Response:
    import httpx  # noqa: PLC0415

    error = {"message": refused.message, "type": refused.code, "param": None, "code": refused.code}
    headers = {"x-watchkeeper-guard": refused.code, "x-should-retry": "false"}
    return httpx.Response(refused.status, headers=headers, json={"error": error}, request=request)


def _ended(reply: httpx.Response, ticket: Ticket, body: dict[str, Any]) -> httpx.Response:
    if reply.status_code in MAYBE_PAID or (reply.is_success and body.get("stream")):
        ticket.lost()
    elif not reply.is_success:
        ticket.failed()
    else:
        _settled(reply, ticket)
    for mark in ticket.marks:
        reply.headers["x-watchkeeper-guard"] = f"{mark.code}; observed={mark.observed}; limit={mark.limit}"
    return reply


def _settled(reply: httpx.Response, ticket: Ticket) -> None:
    try:
        usage = reply.json()["usage"]
        prompt = usage.get("prompt_tokens", usage.get("input_tokens"))
        ticket.used(int(prompt), int(usage.get("completion_tokens", usage.get("output_tokens", 0))))
    except (ValueError, KeyError, TypeError, AttributeError):
        ticket.lost()
