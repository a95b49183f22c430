"""What an archive is kept in: objects with names, written once. One small contract for every kind of storage.

Calls block, and are made from threads. A storage retries what is worth it, and says what is wrong in one of our errors;
it does not know what the objects mean.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, Protocol

MAX_OBJECT_BYTES = 32 * 1_048_576
"""A bundle of 256 of the largest entries has half of that."""


class Stored(NamedTuple):
    """`locked_until` is None where the storage holds nobody back from deleting it."""

    body: bytes
    locked_until: datetime | None


class Storage(Protocol):
    """`place` names it for people and in the ledger: `s3://BUCKET/PREFIX`, or a path."""

    @property
    def place(self) -> str: ...

    def prepare(self) -> None:
        """Raises ConfigError, ForbiddenError or UnavailableError when it cannot be written as its settings say."""

    def locked_until(self, now: datetime) -> datetime | None:
        """Until when an object that is written now must be locked; None for a storage without a lock."""

    def put(self, name: str, body: bytes, media_type: str, until: datetime | None) -> bool:
        """Writes a new object, durably, locked until then. False, and nothing written, if the name is taken."""

    def get(self, name: str) -> Stored | None:
        """The whole object; None if there is none."""
