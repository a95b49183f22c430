"""A small server of guard rules: the daemon's side of the contract in guard/README.md, for tests of the guard alone.

It holds questions for rules until there are newer ones, and keeps the reports that it takes. It does NOT keep anything
over a restart, and knows one token.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.testbed.ports import LOOPBACK, free_port
from watchkeeper_guard.disk import envelope
from watchkeeper_guard.document import API_VERSION

TOKEN = "token-of-the-testbed"
RuleJson = dict[str, Any]


def document(version: int, *rules: RuleJson) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "version": version, "rules": list(rules)}


@dataclass
class GuardServer:
    """`with GuardServer() as server: server.publish(rule, ...)`. `kill` and `start` may follow each other."""

    port: int = field(default_factory=free_port)
    batches: list[dict[str, Any]] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    answer_reports: int = 202
    _version: int = 0
    _rules: Sequence[RuleJson] = ()

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def version(self) -> int:
        return self._version

    def publish(self, *rules: RuleJson) -> int:
        """These rules from now on; the version that they have."""
        with self._changed:
            self._version, self._rules = self._version + 1, rules
            self._changed.notify_all()
            return self._version

    def start(self) -> None:
        assert self._server is None
        self._server = _Server((LOOPBACK, self.port), self)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def kill(self) -> None:
        """Gone, with every connection that it had."""
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        server.cut()
        with self._changed:
            self._changed.notify_all()

    def reported(self) -> list[dict[str, Any]]:
        """Every line of every batch, a batch that came twice once."""
        batches = {each["batch"]: each for each in list(self.batches)}
        return [line for each in batches.values() for line in each["reports"]]

    def newer_than(self, version: int, wait_s: float, server: _Server) -> bytes | None:
        self.asked.append(version)
        until = time.monotonic() + wait_s
        with self._changed:
            while self._version <= version and self._server is server:
                left = until - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    return None
            return envelope(document(self._version, *self._rules)) if self._version > version else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], owner: GuardServer) -> None:
        super().__init__(address, _Handler)
        self.owner, self._open = owner, set[socket.socket]()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A guard that was stopped hangs up in the middle: nothing to tell."""

    def cut(self) -> None:
        for each in list(self._open):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""

    def do_GET(self) -> None:
        if not self._known():
            return
        asked = parse_qs(urlsplit(self.path).query)
        found = self.server.owner.newer_than(int(asked["after"][0]), float(asked["wait"][0]), self.server)
        self._answer(204 if found is None else 200, found or b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if not self._known():
            return
        status = self.server.owner.answer_reports
        if status < 300:
            self.server.owner.batches.append(json.loads(body))
        self._answer(status, b"")

    def _known(self) -> bool:
        known = self.headers.get("authorization") == f"Bearer {TOKEN}"
        if not known:
            self._answer(401, b"")
        return known

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
