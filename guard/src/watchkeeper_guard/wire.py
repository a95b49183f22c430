"""The two calls to the daemon, over the standard library's HTTP client: one request a connection, all bounded.

It does NOT follow redirects, use proxies or retry; who calls it does the latter.
"""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from watchkeeper_guard.disk import MAX_BYTES

WAIT_S = 25
"""How long the daemon may hold the question for rules before it says that there are no newer ones."""
TIMEOUT_S = 10.0
RULES_PATH = "/api/v1/guard/rules"
REPORTS_PATH = "/api/v1/guard/reports"


class WireError(Exception):
    """The daemon did not answer, or not as agreed. The text names no secret."""


class Daemon:
    """The daemon's side that a guard knows."""

    def __init__(self, url: str, token: str, instance: str, ca_file: Path | None = None) -> None:
        self._at, self._instance = urlsplit(url), instance
        self._token = token
        self._tls = ssl.create_default_context(cafile=ca_file) if self._at.scheme == "https" else None

    def rules_after(self, version: int) -> bytes | None:
        """The envelope of newer rules than these; None: there were none within the wait."""
        path = f"{RULES_PATH}?after={version}&wait={WAIT_S}"
        status, body = self._ask("GET", path, None, WAIT_S + TIMEOUT_S)
        if status == 204:
            return None
        if status != 200:
            raise WireError(f"{RULES_PATH} answered {status}")
        return body

    def report(self, document: object) -> bool:
        """True: it has the batch. False: it will never take this one. Raises WireError: again later."""
        body = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
        status, _ = self._ask("POST", REPORTS_PATH, body, TIMEOUT_S)
        if 200 <= status < 300:
            return True
        if status in (400, 413, 422):
            return False
        raise WireError(f"{REPORTS_PATH} answered {status}")

    def _ask(self, method: str, path: str, body: bytes | None, timeout_s: float) -> tuple[int, bytes]:
        host, port = self._at.hostname or "", self._at.port
        connection = (
            http.client.HTTPConnection(host, port, timeout=timeout_s)
            if self._tls is None
            else http.client.HTTPSConnection(host, port, timeout=timeout_s, context=self._tls)
        )
        headers = {"authorization": f"Bearer {self._token}", "x-watchkeeper-guard": self._instance}
        if body is not None:
            headers["content-type"] = "application/json"
        try:
            connection.request(method, self._at.path + path, body, headers)
            reply = connection.getresponse()
            content = reply.read(MAX_BYTES + 1)
            if len(content) > MAX_BYTES:
                raise WireError(f"the answer has more than {MAX_BYTES} bytes")
            return reply.status, content
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise WireError(f"{type(error).__name__} at {self._at.hostname}") from None
        finally:
            connection.close()
