"""The gateway's own journal: every admin write, on disk before it takes effect and before the reply is sent.

It is the judge in crash tests and the log from which a killed gateway completes its state. A torn last line, the
mark of a kill inside the write, was never replied to and is cut off. Reads and refused connections are not in it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from pydantic import JsonValue

from watchkeeper.core.model import Contract, Instant
from watchkeeper.lab.gateway.rows import Effect, key_hash


class JournalEntry(Contract):
    """One admin write. `effect` is null where the gateway refused it (`status` says why)."""

    seq: int
    at: Instant
    method: str
    path: str
    query: str = ""
    changed_by: str = ""
    body: JsonValue = None
    status: int
    effect: Effect | None = None


def redact(value: JsonValue) -> JsonValue:
    """Virtual keys become their hashes, provider keys vanish."""
    if isinstance(value, dict):
        return {name: "[redacted]" if name == "api_key" else redact(item) for name, item in value.items()}
    if isinstance(value, list):
        return [redact(item) for item in value]
    if isinstance(value, str) and value.startswith("sk-"):
        return key_hash(value)
    return value


class Journal:
    """An append-only file of JSON lines, each one flushed to the disk before `append` returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries = _recover(path)
        self._file: IO[bytes] = path.open("ab", buffering=0)
        path.chmod(0o600)

    def entries(self) -> tuple[JournalEntry, ...]:
        return tuple(self._entries)

    @property
    def last_seq(self) -> int:
        return self._entries[-1].seq if self._entries else 0

    def append(self, entry: JournalEntry) -> None:
        self._file.write(entry.model_dump_json().encode() + b"\n")
        os.fsync(self._file.fileno())
        self._entries.append(entry)

    def close(self) -> None:
        self._file.close()


def read_journal(path: Path) -> list[JournalEntry]:
    """The complete entries of a journal, also of a gateway that was killed."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    return [JournalEntry.model_validate_json(line) for line in lines[:-1]]


def _recover(path: Path) -> list[JournalEntry]:
    entries = read_journal(path)
    if path.exists():
        complete = path.read_bytes().rfind(b"\n") + 1
        os.truncate(path, complete)
    return entries
