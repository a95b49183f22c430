"""A local HTTP endpoint that others call: keeps what was posted to it, and serves pages (such as metrics) to scrapers.

It answers 200 to everything unless told otherwise, and checks nothing: what was sent is for the test to judge.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from tests.testbed.ports import LOOPBACK

MAX_BODY = 4 << 20


@dataclass(frozen=True)
class Delivery:
    """One POST as it came."""

    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


class Receiver:
    """`with Receiver() as receiver: ...; receiver.wait_for(lambda seen: len(seen) == 2)`."""

    def __init__(self, *, port: int = 0) -> None:
        self.status = 200
        """What POSTs are answered with."""
        self.pages: dict[str, str] = {}
        """Text served to GET, by path, whatever the query."""
        self._arrived = threading.Condition()
        self._deliveries: list[Delivery] = []
        self._server = _Server((LOOPBACK, port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)

    @property
    def address(self) -> str:
        """host:port, as scrapers want it."""
        return f"{LOOPBACK}:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """What was posted, oldest first."""
        with self._arrived:
            return tuple(self._deliveries)

    def wait_for(
        self, enough: Callable[[tuple[Delivery, ...]], bool], *, timeout_s: float = 30
    ) -> tuple[Delivery, ...]:
        """Wait until the deliveries are `enough`, and answer them."""
        with self._arrived:
            done = self._arrived.wait_for(lambda: enough(tuple(self._deliveries)), timeout=timeout_s)
            seen = tuple(self._deliveries)
        assert done, f"not enough deliveries within {timeout_s:g} s: {seen}"
        return seen

    def accept(self, delivery: Delivery) -> int:
        """Keep one delivery and choose the status that answers it."""
        with self._arrived:
            self._deliveries.append(delivery)
            self._arrived.notify_all()
            return self.status


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], receiver: Receiver) -> None:
        super().__init__(address, _Handler)
        self.receiver = receiver


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Silent: the deliveries are the log."""

    def do_GET(self) -> None:
        page = self.server.receiver.pages.get(self.path.partition("?")[0])
        self._send(404 if page is None else 200, (page or "").encode())

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", "0"))
        if length > MAX_BODY:
            self._send(413, b"")
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        delivery = Delivery(path=self.path, headers=headers, body=self.rfile.read(length))
        self._send(self.server.receiver.accept(delivery), b"")

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
