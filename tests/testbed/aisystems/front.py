"""Stands before a real server, passes everything on, and journals each write that the server carried out.

Whole requests and replies, a thread per connection, no TLS. What is refused (400 and above) is not in the journal. What
comes to the server by another way, a judge's own writes for example, is NOT seen here.
"""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

import httpx

from tests.testbed.ports import LOOPBACK

MAX_BODY = 4 << 20
TIMEOUT_S = 60
_HOP = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive", "content-encoding", "host"})
_SAFE = ("GET", "HEAD", "OPTIONS")


class Front:
    """`with Front("http://127.0.0.1:1") as front: front.url`. `reads` are paths whose POST only reads: their ends."""

    def __init__(self, target: str, reads: tuple[str, ...] = ()) -> None:
        self.target, self._reads = target, reads
        self.journal: list[str] = []
        """`METHOD path?query` of each write that was carried out, in order."""
        self._client = httpx.Client(timeout=TIMEOUT_S, trust_env=False)
        self._server = _Server((LOOPBACK, 0), self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)
        self._client.close()

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._server.server_address[1]}"

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> httpx.Response:
        reply = self._client.request(method, self.target + path, headers=headers, content=body)
        reads = method in _SAFE or path.partition("?")[0].endswith(self._reads)
        if reply.status_code < 400 and not reads:
            self.journal.append(f"{method} {path}")
        return reply


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], front: Front) -> None:
        super().__init__(address, _Handler)
        self.front = front


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes: the second would wait for an acknowledgement

    def log_message(self, format: str, *args: object) -> None:
        """Silent: the journal is the log."""

    def handle_any(self) -> None:
        length = int(self.headers.get("content-length", "0"))
        assert length <= MAX_BODY
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        try:
            reply = self.server.front.forward(self.command, self.path, headers, self.rfile.read(length))
        except httpx.TransportError:
            self.close_connection = True  # the server behind has gone: so are we, for this caller
            return
        self.send_response_only(reply.status_code)  # Server and Date are those of the server behind
        for name, value in reply.headers.items():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        bare = reply.status_code in (204, 304)
        if not bare:
            self.send_header("Content-Length", str(len(reply.content)))
        self.end_headers()
        if not bare:
            self.wfile.write(reply.content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any
