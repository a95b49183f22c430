"""What the fakes of hosted services have in common: who calls, what the caller may, refusals to come, and the journal.

A fake's docstring names the documents that it follows, and what in it is from memory or a guess. None has been compared
with the service itself.
"""

from __future__ import annotations

import secrets
from abc import abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime

from pydantic import JsonValue

from tests.testbed.clouds.jsonserver import JsonServer, Reply, Request

SAFE = ("GET", "HEAD", "OPTIONS")


class Refusal(Exception):
    def __init__(self, status: int, body: JsonValue, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {body}")
        self.reply = Reply(status, body, headers or {})


class Fake(JsonServer):
    """`key` may do all, `reader_key` may only read."""

    def __init__(self) -> None:
        super().__init__()
        self.key, self.reader_key = secrets.token_hex(16), secrets.token_hex(16)
        self.journal: list[str] = []
        """`METHOD path` of every write that was taken, in order."""
        self._refusals: list[Refusal] = []

    def effects(self) -> int:
        return len(self.journal)

    def refuse_next(self, refusal: Refusal) -> None:
        self._refusals.append(refusal)

    def throttle_next(self, retry_after_s: int = 3) -> None:
        """The next request is one too many."""
        self.refuse_next(self.throttled(retry_after_s))

    def answer(self, request: Request) -> Reply:
        try:
            if self._refusals:
                raise self._refusals.pop(0)
            given = self.credential(request)
            if given not in (self.key, self.reader_key):
                raise self.unauthorized()
            if given == self.reader_key and request.method not in SAFE:
                raise self.forbidden()
            reply = self.handle(request)
        except Refusal as refusal:
            return refusal.reply
        if request.method not in SAFE:
            self.journal.append(f"{request.method} {request.path}")
        return reply

    @abstractmethod
    def credential(self, request: Request) -> str | None: ...

    @abstractmethod
    def unauthorized(self) -> Refusal: ...

    @abstractmethod
    def forbidden(self) -> Refusal: ...

    @abstractmethod
    def throttled(self, retry_after_s: int) -> Refusal: ...

    @abstractmethod
    def handle(self, request: Request) -> Reply:
        """What is not refused by a `Refusal` counts as carried out."""


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def body_of(request: Request, invalid: Refusal) -> dict[str, JsonValue]:
    """The JSON object that was sent."""
    try:
        found = request.json()
    except ValueError:
        raise invalid from None
    if not isinstance(found, dict):
        raise invalid
    return found
