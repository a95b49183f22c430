"""A model provider that answers like OpenAI's chat completions, with faults that stay until they are cleared.

The usage is a function of the request alone, so that costs can be predicted. It checks no API key and does not stream.
"""

from __future__ import annotations

import asyncio
import hashlib
from enum import StrEnum
from typing import Literal

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, JsonValue

from watchkeeper.core.model import Contract

CHARS_PER_TOKEN = 4
DEFAULT_OUTPUT_TOKENS = 32


class ProviderMode(StrEnum):
    OK = "ok"
    RATE_LIMITED = "429"
    BROKEN = "500"
    SLOW = "slow"


class ProviderControl(Contract):
    """What a provider does from now on. `delay_s` is the latency it adds in mode `slow`."""

    mode: ProviderMode
    delay_s: float = Field(default=5.0, ge=0, le=120)


class ProviderStatus(Contract):
    name: str
    mode: ProviderMode
    delay_s: float
    requests: int
    served: int


class ChatMessage(BaseModel):
    role: str
    content: str | list[JsonValue] | None = None


class ChatRequest(BaseModel):
    """The part of the request that decides the answer; a real provider takes more, so more is let through."""

    model: str
    messages: list[ChatMessage] = Field(max_length=1000)
    max_tokens: int = Field(default=DEFAULT_OUTPUT_TOKENS, ge=1, le=100_000)
    stream: Literal[False] | None = None


class Usage(Contract):
    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


def usage_of(request: ChatRequest) -> Usage:
    """A quarter of a token per character, at least one a message; the output is as long as it may be."""
    chars = sum(len(message.content) for message in request.messages if isinstance(message.content, str))
    return Usage(
        prompt_tokens=max(len(request.messages), chars // CHARS_PER_TOKEN), completion_tokens=request.max_tokens
    )


class Provider:
    """The provider's state: the fault that is switched on, and what it was asked."""

    def __init__(self, name: str, latency_s: float = 0.02) -> None:
        self.name = name
        self._latency_s = latency_s
        self._control = ProviderControl(mode=ProviderMode.OK, delay_s=0)
        self._requests = 0
        self._served = 0

    def switch(self, control: ProviderControl) -> ProviderStatus:
        self._control = control
        return self.status()

    def status(self) -> ProviderStatus:
        return ProviderStatus(
            name=self.name,
            mode=self._control.mode,
            delay_s=self._control.delay_s,
            requests=self._requests,
            served=self._served,
        )

    async def complete(self, request: ChatRequest) -> JSONResponse:
        self._requests += 1
        control = self._control
        await asyncio.sleep(control.delay_s if control.mode is ProviderMode.SLOW else self._latency_s)
        if control.mode is ProviderMode.RATE_LIMITED:
            error: JsonValue = {"message": "Rate limit reached", "type": "rate_limit_error", "code": "429"}
            return JSONResponse({"error": error}, status_code=429, headers={"retry-after": "1"})
        if control.mode is ProviderMode.BROKEN:
            error = {"message": "The server had an error", "type": "server_error", "code": "server_error"}
            return JSONResponse({"error": error}, status_code=500)
        self._served += 1
        return JSONResponse(self._answer(request))

    def _answer(self, request: ChatRequest) -> dict[str, JsonValue]:
        usage = usage_of(request)
        serial = hashlib.sha256(f"{self.name}/{self._served}".encode()).hexdigest()[:24]
        message: JsonValue = {"role": "assistant", "content": f"Answer {self._served} from {self.name}."}
        return {
            "id": f"chatcmpl-{serial}",
            "object": "chat.completion",
            "created": 0,
            "model": request.model,
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "total_tokens": usage.total_tokens,
            },
        }


def provider_app(provider: Provider) -> FastAPI:
    app = FastAPI(title=provider.name, openapi_url=None)

    @app.post("/v1/chat/completions")
    async def chat_completions(request: ChatRequest) -> JSONResponse:
        return await provider.complete(request)

    @app.post("/_ctl")
    async def switch(control: ProviderControl) -> ProviderStatus:
        return provider.switch(control)

    @app.get("/_ctl")
    async def status() -> ProviderStatus:
        return provider.status()

    return app
