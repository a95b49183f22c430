"""Faults of the gateway's admin API, for those who must act through it. The chat path is never touched.

A fault lasts until it is switched off, or for `count` calls where one is given. `hang` ends with the fault.
"""

from __future__ import annotations

import asyncio
from collections import deque
from enum import StrEnum
from typing import Literal

from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from watchkeeper.core.model import Contract
from watchkeeper.lab.serving import hang_up

CHAT_PATHS = frozenset({"/chat/completions", "/v1/chat/completions"})
PAGE = "<!DOCTYPE html><html><head><title>Sign in</title></head><body><h1>Please sign in</h1></body></html>"


class FaultMode(StrEnum):
    NONE = "none"
    DOWN = "down"  # the connection is closed, nothing is done
    SLOW = "slow"  # everything is done, `delay_s` later, also if the caller has gone
    BROKEN = "500"  # 500, nothing is done
    HTML = "html"  # 200 with a page, as a proxy in front would answer; nothing is done
    DROP_AFTER_EFFECT = "drop_after_effect"  # everything is done, then the connection is closed with no reply
    HANG = "hang"  # no reply and nothing done while the fault lasts, then the connection is closed


class AdminFault(Contract):
    mode: FaultMode
    applies_to: Literal["all", "reads", "writes"] = "all"
    paths: tuple[str, ...] = Field(default=(), description="prefixes; none means every admin path")
    count: int | None = Field(default=None, ge=1)
    delay_s: float = Field(default=5.0, ge=0, le=120)

    def matches(self, method: str, path: str) -> bool:
        kind = "reads" if method in ("GET", "HEAD", "OPTIONS") else "writes"
        return (
            self.mode is not FaultMode.NONE
            and self.applies_to in ("all", kind)
            and (not self.paths or path.startswith(self.paths))
        )


NO_FAULT = AdminFault(mode=FaultMode.NONE)


class FaultSwitch:
    """The fault that is on, and how many calls it still has."""

    def __init__(self) -> None:
        self._fault = NO_FAULT
        self._changed = asyncio.Event()

    @property
    def current(self) -> AdminFault:
        return self._fault

    def set(self, fault: AdminFault) -> None:
        self._fault = fault
        self._changed.set()
        self._changed = asyncio.Event()

    def take(self, method: str, path: str) -> AdminFault:
        """The fault that this call meets; uses up one of its calls."""
        fault = self._fault
        if not fault.matches(method, path):
            return NO_FAULT
        if fault.count is not None:
            left = fault.count - 1
            self._fault = fault.model_copy(update={"count": left}) if left else NO_FAULT
        return fault

    async def changed(self) -> None:
        await self._changed.wait()


class AdminFaults:
    """ASGI middleware: one admin call in, one fault out."""

    def __init__(self, app: ASGIApp, switch: FaultSwitch) -> None:
        self._app, self._switch = app, switch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] != "http" or path in CHAT_PATHS or path.startswith("/_lab/"):
            await self._app(scope, receive, send)
            return
        fault = self._switch.take(scope["method"], path)
        match fault.mode:
            case FaultMode.NONE:
                await self._app(scope, receive, send)
            case FaultMode.SLOW:
                request = await _whole_request(receive)
                await asyncio.sleep(fault.delay_s)
                await self._app(scope, request, send)
            case FaultMode.DROP_AFTER_EFFECT:
                await self._app(scope, receive, _nowhere)
                await hang_up(scope)
            case FaultMode.DOWN:
                await hang_up(scope)
            case FaultMode.HANG:
                await self._switch.changed()
                await hang_up(scope)
            case FaultMode.BROKEN:
                await JSONResponse({"error": "Internal Server Error"}, status_code=500)(scope, receive, send)
            case FaultMode.HTML:
                await HTMLResponse(PAGE)(scope, receive, send)


async def _whole_request(receive: Receive) -> Receive:
    """Reads the body now, so that the call is carried out even if its caller has gone by then."""
    messages = deque([await receive()])
    while messages[-1].get("more_body"):
        messages.append(await receive())

    async def replay() -> Message:
        return messages.popleft() if messages else await receive()

    return replay


async def _nowhere(message: Message) -> None:
    """Where a reply goes that nobody is to see."""
