"""Speaks to the daemon. Finds it by option, environment, or the data directory of a daemon on this machine.

It checks neither what the daemon answers nor who answers: the address is trusted as it is given.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from watchkeeper.core.errors import ConfigError, ForbiddenError, InputError, UnavailableError, WatchkeeperError

TOKEN_FILE = "local.token"  # noqa: S105  # a file name
API_FILE = "api.json"
_LIKE = {400: 422, 401: 403, 413: 422}
UNASKED = (httpx.HTTPError, httpx.InvalidURL, UnicodeEncodeError)
"""What is raised in place of a reply; all but the first before anything is sent, for a word that no address can say."""
TIMEOUT_S = 60.0
"""Verifying or exporting a long log takes its time."""


class Client:
    """One connection to the API. Every error is one of our tree, with the daemon's own diagnostics."""

    def __init__(self, url: str, token: str) -> None:
        shown = f"Bearer {token}".encode(errors="replace")  # one that is no ASCII is wrong: the daemon says so
        self._http = httpx.Client(base_url=url, headers={b"Authorization": shown}, timeout=TIMEOUT_S)
        self.url = url

    def get(self, path: str, **query: str | int | float | bool | list[str]) -> Any:
        return self._json(self._send("GET", path, params=query))

    def text(self, path: str, **query: str | int | bool) -> str:
        return self._send("GET", path, params=query).text

    def raw(self, path: str, **query: str | int | bool) -> bytes:
        return self._send("GET", path, params=query).content

    @contextmanager
    def pieces(self, path: str, **query: str | int | bool) -> Iterator[Iterator[bytes]]:
        """A body of any size, as it comes in."""
        try:
            with self._http.stream("GET", path, params=query) as reply:
                if reply.is_error:
                    reply.read()
                    raise _problem(reply)
                yield reply.iter_bytes()
        except UNASKED as error:
            raise self._unasked(error) from error

    def follow(
        self, path: str, body: dict[str, Any], progress: Callable[[int, int], None] | None = None
    ) -> dict[str, Any]:
        """Asks for work that takes long; `progress` hears what is done of what. Returns the last line of the answer."""
        last: dict[str, Any] = {}
        try:
            with self._http.stream("POST", path, json=body, headers={"Accept": "application/x-ndjson"}) as reply:
                if reply.is_error:
                    reply.read()
                    raise _problem(reply)
                for line in reply.iter_lines():
                    last = _object(line, reply)
                    if progress is not None and "done" in last:
                        progress(last["done"], last["of"])
        except UNASKED as error:
            raise self._unasked(error) from error
        if "problem" in last:
            raise told(last["problem"], reply.status_code)
        if not last or "done" in last:
            raise _foreign(reply)
        return last

    def close(self) -> None:
        self._http.close()

    def post(self, path: str, body: dict[str, Any] | None = None, **query: str | int | bool) -> Any:
        return self._json(self._send("POST", path, json=body, params=query))

    def delete(self, path: str) -> Any:
        return self._json(self._send("DELETE", path))

    def _send(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        try:
            reply = self._http.request(method, path, **kwargs)
        except UNASKED as error:
            raise self._unasked(error) from error
        if reply.is_error:
            raise _problem(reply)
        return reply

    def _unasked(self, error: Exception) -> WatchkeeperError:
        if not isinstance(error, httpx.HTTPError):
            return InputError(
                f"the daemon cannot be asked that: {error}",
                cause="a word holds a control character or is no text, or it is too long; or --api-url is no address",
                next_step="look at what was given, and try again",
            )
        return UnavailableError(
            f"the daemon at {self.url} does not answer ({type(error).__name__})",
            cause="it is not running, or listens elsewhere",
            next_step="watchkeeper serve --config PATH",
        )

    @staticmethod
    def _json(reply: httpx.Response) -> Any:
        try:
            return reply.json()
        except ValueError:
            raise _foreign(reply) from None


def _problem(reply: httpx.Response) -> WatchkeeperError:
    try:
        return told(reply.json(), reply.status_code)
    except (ValueError, KeyError, TypeError, AttributeError):
        return _foreign(reply)


def told(body: dict[str, Any], status: int) -> WatchkeeperError:
    """The daemon's error, as it told it."""
    error = WatchkeeperError(
        body["what"], cause=body.get("cause", ""), next_step=body.get("next", ""), place=body.get("place", "")
    )
    error.code, error.exit_code = body["code"], _exit_code(body["code"], status)
    return error


def _object(line: str, reply: httpx.Response) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        raise _foreign(reply) from None
    if not isinstance(said, dict):
        raise _foreign(reply)
    return said


def _exit_code(code: str, status: int) -> int:
    """That of the error's own class; of one this version does not know, by what HTTP says."""
    known = list(_tree(WatchkeeperError))
    by_code = (kind.exit_code for kind in known if kind.code == code)
    by_status = (kind.exit_code for kind in known if kind.http_status == _LIKE.get(status, status))
    return next(by_code, None) or next(by_status, WatchkeeperError.exit_code)


def _tree(kind: type[WatchkeeperError]) -> Iterator[type[WatchkeeperError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)


def _foreign(reply: httpx.Response) -> UnavailableError:
    return UnavailableError(
        f"HTTP {reply.status_code} came back in a form that is not ours",
        cause="something else listens at this address, or a proxy is in between",
        next_step="check --api-url",
    )


def connect(api_url: str | None, data_dir: Path | None) -> Client:
    """Options first, then WATCHKEEPER_API_URL and WATCHKEEPER_TOKEN or WATCHKEEPER_TOKEN_FILE, then the data directory
    of a local daemon."""
    where = data_dir or Path(os.environ.get("WATCHKEEPER_DATA_DIR", "var"))
    url = api_url or os.environ.get("WATCHKEEPER_API_URL") or _local_url(where)
    token = _given_token(os.environ) or _local_token(where)
    return Client(url, token)


def _local_url(where: Path) -> str:
    try:
        return str(json.loads((where / API_FILE).read_text())["url"])
    except (OSError, ValueError, KeyError) as error:
        raise UnavailableError(
            f"no daemon is known in {where}",
            cause="none was started with this data directory, or it is on another machine",
            next_step="watchkeeper serve, or give --api-url and WATCHKEEPER_TOKEN",
        ) from error


def _given_token(environ: Mapping[str, str]) -> str:
    """Empty where none is given."""
    token, file = environ.get("WATCHKEEPER_TOKEN", ""), environ.get("WATCHKEEPER_TOKEN_FILE", "")
    if token and file:
        raise ConfigError(
            "the token is given twice: as a value and as a file",
            place="WATCHKEEPER_TOKEN and WATCHKEEPER_TOKEN_FILE",
            cause="it is not said which of the two is meant",
            next_step="unset one of them",
        )
    if not file:
        return token
    try:
        read = Path(file).read_text(encoding="utf-8").strip()
        why = "it is empty"
    except (OSError, UnicodeDecodeError) as error:
        read, why = "", (error.strerror or "" if isinstance(error, OSError) else "it is not UTF-8 text")
    if not read:
        raise ConfigError(
            f"cannot use the token file {file}: {why}",
            place="WATCHKEEPER_TOKEN_FILE",
            cause="the file is missing, empty, or not readable by this user",
            next_step="watchkeeper token create NAME --role ROLE, into that file",
        )
    return read


def _local_token(where: Path) -> str:
    try:
        return (where / TOKEN_FILE).read_text().strip()
    except OSError as error:
        raise ForbiddenError(
            "no token to show to the daemon",
            cause=f"WATCHKEEPER_TOKEN and WATCHKEEPER_TOKEN_FILE are not set, and {where / TOKEN_FILE} is not readable "
            "by this user",
            next_step="export WATCHKEEPER_TOKEN=..., made with: watchkeeper token create NAME --role ROLE",
        ) from error
