"""A controllable OpenAI-compatible provider: the far side of a gateway under test.

One threaded server on loopback, driven from the test by attributes and not by HTTP. It journals every request, so that
a test judges traffic by what reached the provider. It does NOT stream, does not check parameters, and knows no
endpoint but chat completions and the list of models.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from uuid import uuid4

from tests.testbed.ports import LOOPBACK

MAX_BODY = 1 << 20


class Mode(StrEnum):
    """How the provider answers."""

    OK = "ok"
    SERVER_ERROR = "500"
    RATE_LIMIT = "429"
    BAD_KEY = "401"


@dataclass(frozen=True)
class Usage:
    """The tokens that each answer claims, those of the prompt's length aside."""

    prompt_tokens: int = 100
    completion_tokens: int = 50


@dataclass(frozen=True)
class Request:
    """One chat request that reached the provider, and how it was answered."""

    at: datetime
    model: str
    mode: Mode
    status: int
    answer_id: str


_ERRORS: Mapping[Mode, tuple[int, str, str]] = {
    Mode.SERVER_ERROR: (500, "server_error", "the provider is broken on purpose"),
    Mode.RATE_LIMIT: (429, "rate_limit_exceeded", "the provider limits on purpose"),
    Mode.BAD_KEY: (401, "invalid_api_key", "the provider refuses the key on purpose"),
}


class Upstream:
    """The provider `name`: `with Upstream("a") as a: a.mode = Mode.RATE_LIMIT`."""

    def __init__(self, name: str, *, port: int = 0) -> None:
        self.name = name
        self._lock = threading.Lock()
        self._journal: list[Request] = []
        self._released = threading.Event()
        self.reset()
        self._server = _Server((LOOPBACK, port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, name=f"upstream-{name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)

    def reset(self) -> None:
        """Healthy, quick, with the standard usage and an empty journal."""
        self.mode = Mode.OK
        self.delay_s = 0.0
        self.retry_after_s = 1
        self.usage = Usage()
        self.chars_per_token = 0
        """How many characters of a prompt cost a token more than `usage` says; 0: its length costs nothing."""
        with self._lock:
            self._journal.clear()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def api_base(self) -> str:
        """What a gateway is configured with."""
        return f"http://{LOOPBACK}:{self.port}/v1"

    @property
    def requests(self) -> tuple[Request, ...]:
        """The journal, oldest first."""
        with self._lock:
            return tuple(self._journal)

    def counts(self) -> Counter[tuple[str, Mode]]:
        """Requests per (model, mode)."""
        return Counter((request.model, request.mode) for request in self.requests)

    def served(self) -> int:
        """Requests answered with 200."""
        return sum(1 for request in self.requests if request.status == 200)

    def answer(self, model: str, prompt: int) -> tuple[int, dict[str, str], dict[str, object]]:
        """Status, headers and body for one chat request with a prompt of so many characters; waits the configured
        delay and writes the journal."""
        mode, usage = self.mode, self.usage
        if self.chars_per_token:
            usage = replace(usage, prompt_tokens=usage.prompt_tokens + prompt // self.chars_per_token)
        if self.delay_s:
            self._released.wait(self.delay_s)
        answer_id = f"chatcmpl-{uuid4().hex}"
        status = 200 if mode is Mode.OK else _ERRORS[mode][0]
        with self._lock:
            self._journal.append(Request(datetime.now(UTC), model, mode, status, answer_id))
        if mode is not Mode.OK:
            _, kind, message = _ERRORS[mode]
            headers = {"retry-after": str(self.retry_after_s)} if mode is Mode.RATE_LIMIT else {}
            return status, headers, {"error": {"message": message, "type": kind, "param": None, "code": kind}}
        return status, {}, _completion(answer_id, model, self.name, usage)


@dataclass(frozen=True)
class Upstreams:
    """Two providers of the same models."""

    first: Upstream
    second: Upstream

    def reset(self) -> None:
        self.first.reset()
        self.second.reset()


def _completion(answer_id: str, model: str, name: str, usage: Usage) -> dict[str, object]:
    return {
        "id": answer_id,
        "object": "chat.completion",
        "created": int(datetime.now(UTC).timestamp()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": f"answered by {name}"},
            }
        ],
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        },
    }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], upstream: Upstream) -> None:
        super().__init__(address, _Handler)
        self.upstream = upstream


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Silent: the journal is the log."""

    def do_GET(self) -> None:
        self._send(200, {}, {"object": "list", "data": []})

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", "0"))
        if length > MAX_BODY:
            self.close_connection = True
            self._send(413, {}, {"error": {"message": "too large", "type": "invalid_request_error"}})
            return
        body = json.loads(self.rfile.read(length) or b"{}")
        prompt = sum(len(str(message.get("content", ""))) for message in body.get("messages", ()))
        status, headers, answer = self.server.upstream.answer(str(body.get("model", "")), prompt)
        self._send(status, headers, answer)

    def _send(self, status: int, headers: Mapping[str, str], body: Mapping[str, object]) -> None:
        encoded = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(encoded)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(encoded)
