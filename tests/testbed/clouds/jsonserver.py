"""A small HTTP/1.1 server on loopback for fakes that speak JSON, in a thread of the test's process.

One request at a time is answered (a lock around the fake), so a fake needs no locks of its own. No TLS.
"""

from __future__ import annotations

import json
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import JsonValue

from tests.testbed.ports import LOOPBACK

MAX_BODY = 4 << 20
JsonObject = dict[str, JsonValue]


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    """Unquoted, without the query."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    def json(self) -> JsonValue:
        """None without a body. Raises ValueError."""
        found: JsonValue = json.loads(self.body) if self.body else None
        return found


@dataclass(frozen=True)
class Reply:
    status: int
    body: JsonValue = None
    """None is no body at all."""
    headers: Mapping[str, str] = field(default_factory=dict)


class JsonServer(ABC):
    """`with Fake() as fake: fake.url`."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.broken: list[str] = []
        """What is wrong with the fake itself: it broke, or it answered what it may not. Has to be empty in the end."""
        self._server = _Server((LOOPBACK, 0), self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._server.server_address[1]}"

    @abstractmethod
    def answer(self, request: Request) -> Reply:
        """Called under the lock."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], fake: JsonServer) -> None:
        super().__init__(address, _Handler)
        self.fake = fake


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Silent: the journal is the log."""

    def handle_any(self) -> None:
        length = int(self.headers.get("content-length", "0"))
        assert length <= MAX_BODY
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        request = Request(self.command, unquote(parts.path), query, headers, self.rfile.read(length))
        reply = self._answer(request)
        body = b"" if reply.body is None else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, value in ({"Content-Type": "application/json; charset=utf-8"} | dict(reply.headers)).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _answer(self, request: Request) -> Reply:
        fake = self.server.fake
        with fake.lock:
            try:
                return fake.answer(request)
            except Exception:
                fake.broken.append(traceback.format_exc())
                return Reply(500, "the fake broke")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any
