"""Speaks to the daemon. Finds it by option, environment, or the data directory of a daemon on this machine."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx

from watchkeeper.core.errors import (
    ConflictError,
    ForbiddenError,
    InputError,
    NotFoundError,
    UnavailableError,
    VerificationError,
    WatchkeeperError,
)

TOKEN_FILE = "local.token"  # noqa: S105  # a file name
API_FILE = "api.json"

_KINDS: dict[str, type[WatchkeeperError]] = {
    kind.code: kind
    for kind in (ConflictError, ForbiddenError, InputError, NotFoundError, UnavailableError, VerificationError)
}


class Client:
    """One connection to the API. Every error is one of our tree, with the daemon's own diagnostics."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30)
        self.url = url

    def get(self, path: str, **query: str | int | bool) -> Any:
        return self._json(self._send("GET", path, params=query))

    def text(self, path: str) -> str:
        return self._send("GET", path).text

    def post(self, path: str, body: dict[str, Any] | None = None, **query: str | int | bool) -> Any:
        return self._json(self._send("POST", path, json=body, params=query))

    def delete(self, path: str) -> Any:
        return self._json(self._send("DELETE", path))

    def _send(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        try:
            reply = self._http.request(method, path, **kwargs)
        except httpx.HTTPError as error:
            raise UnavailableError(
                f"the daemon at {self.url} does not answer ({type(error).__name__})",
                cause="it is not running, or listens elsewhere",
                next_step="watchkeeper serve --config PATH",
            ) from error
        if reply.is_error:
            raise _problem(reply)
        return reply

    @staticmethod
    def _json(reply: httpx.Response) -> Any:
        return reply.json()


def _problem(reply: httpx.Response) -> WatchkeeperError:
    try:
        body = reply.json()
        code, what = body["code"], body["what"]
    except (ValueError, KeyError, TypeError):
        return UnavailableError(
            f"the daemon answered HTTP {reply.status_code} in a form that is not ours",
            cause="something else listens at this address, or a proxy is in between",
            next_step="check --api-url",
        )
    kind = _KINDS.get(code)
    if kind is None:
        kind = ForbiddenError if reply.status_code in (401, 403) else WatchkeeperError
    return kind(what, cause=body.get("cause", ""), next_step=body.get("next", ""), place=body.get("place", ""))


def connect(api_url: str | None, data_dir: Path | None) -> Client:
    """Options first, then WATCHKEEPER_API_URL and WATCHKEEPER_TOKEN, then the data directory of a local daemon."""
    where = data_dir or Path(os.environ.get("WATCHKEEPER_DATA_DIR", "var"))
    url = api_url or os.environ.get("WATCHKEEPER_API_URL") or _local_url(where)
    token = os.environ.get("WATCHKEEPER_TOKEN") or _local_token(where)
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


def _local_token(where: Path) -> str:
    try:
        return (where / TOKEN_FILE).read_text().strip()
    except OSError as error:
        raise ForbiddenError(
            "no token to show to the daemon",
            cause=f"WATCHKEEPER_TOKEN is not set and {where / TOKEN_FILE} is not readable by this user",
            next_step="export WATCHKEEPER_TOKEN=..., made with: watchkeeper token create NAME --role ROLE",
        ) from error
