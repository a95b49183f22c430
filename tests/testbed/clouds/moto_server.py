"""moto, AWS that we did not write, as a process of its own on loopback; with a journal of what it carried out.

The journal holds the operation of every request that moto answered without an error. The child
(`python -m tests.testbed.clouds.moto_server PORT`) also answers the judge of `aws.py` straight from moto's memory,
under `/_testbed/`. It checks no signature; what it lets through, AWS may refuse.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qs

from tests.testbed.ports import LOOPBACK, free_port
from tests.testbed.process import ChildProcess

READY_S = 60
_READS = re.compile(r"(Describe|List|Get|BatchGet|Lookup|Simulate|Search|Filter|Query)")
_FORM = "application/x-www-form-urlencoded"


def operation(method: str, path: str, target: str = "", form: bytes = b"") -> str:
    """AWS's word for a request: it is in the form, in X-Amz-Target, or only in the method and path."""
    if target:
        return target.rsplit(".", 1)[-1]
    named = parse_qs(form.decode(errors="replace")).get("Action")
    return named[0] if named else f"{method} {path}"


def writes(operation_: str) -> bool:
    """Whether it changes something. Most of AWS reads by POST, so the method alone does not tell."""
    method, _, path = operation_.partition(" ")
    return method not in ("GET", "HEAD", "OPTIONS") if path else not _READS.match(operation_)


@contextmanager
def moto_server(directory: Path) -> Iterator[str]:
    """Its URL."""
    port = free_port()
    argv = [sys.executable, "-m", "tests.testbed.clouds.moto_server", str(port)]
    root = Path(__file__).parents[3]
    with ChildProcess("moto", argv, log=directory / "moto.log", cwd=root) as child:
        url = f"http://{LOOPBACK}:{port}"
        child.wait_for_http(f"{url}/moto-api/", timeout_s=READY_S)
        yield url


class Journal:
    """A WSGI application around moto's: notes each write that was carried out, and answers the judge."""

    def __init__(self, app: Callable[..., Any]) -> None:
        self._app, self._lock = app, Lock()
        self._written: list[str] = []

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"].startswith("/_testbed/"):
            return self._answer(environ, start)
        form = _form(environ) if str(environ.get("CONTENT_TYPE", "")).startswith(_FORM) else b""
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        name = operation(environ["REQUEST_METHOD"], environ["PATH_INFO"], target, form)

        def noted(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            if writes(name) and status.startswith("2") and not environ["PATH_INFO"].startswith("/moto-api"):
                with self._lock:
                    self._written.append(name)
            return start(status, headers, *rest)

        return self._app(environ, noted)

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        from tests.testbed.clouds import moto_judge

        asked = json.loads(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) or b"{}")
        try:
            answer, status = self._judged(moto_judge, environ["PATH_INFO"].rsplit("/", 1)[-1], asked), "200 OK"
        except LookupError as error:
            answer, status = f"{type(error).__name__}: {error}", "404 Not Found"
        body = json.dumps(answer).encode()
        start(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    def _judged(self, judge: Any, what: str, asked: dict[str, Any]) -> object:
        if what == "journal":
            return list(self._written)
        if what == "fields":
            return judge.fields(asked["kind"], asked["id"])
        if what == "write":
            judge.write(asked["kind"], asked["id"], asked["values"])
        else:
            judge.stuck(asked["kind"], asked["on"])
        return None


def _form(environ: dict[str, Any]) -> bytes:
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def main() -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import make_server

    from tests.testbed.clouds import moto_gaps

    moto_gaps.fill()
    app = Journal(DomainDispatcherApplication(create_backend_app))
    make_server(LOOPBACK, int(sys.argv[1]), app, threaded=True, request_handler=MotoRequestHandler).serve_forever()


if __name__ == "__main__":
    main()
