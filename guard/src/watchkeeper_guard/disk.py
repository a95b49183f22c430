"""The last rules on disk: written whole or not at all, and checked by their digest when they are read.

Twice: at once in a file that all workers of a host follow, and a moment later in one that a loss of power leaves whole.
What cannot be read is put aside. It does NOT notice somebody who may write the files and computes the digest again.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from watchkeeper_guard.document import RulesError, digest_of, parse
from watchkeeper_guard.rules import Rules

RULES = "rules.json"
DURABLE = "rules.durable.json"
MAX_BYTES = 16 << 20

Stamp = tuple[int, int, int]
"""By which a file is known to be another than before."""


class State:
    """The state directory, for this user alone."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory = directory
        self.rules_file = directory / RULES

    def stamp(self) -> Stamp | None:
        """Of the rules' file, where there is one."""
        try:
            found = self.rules_file.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def load(self) -> Rules | None:
        """The newest rules that were kept; None: there are none. What is something else is put aside under another
        name; raises RulesError where that leaves nothing."""
        found: list[Rules] = []
        wrong: list[RulesError] = []
        for file in (self.rules_file, self.directory / DURABLE):
            try:
                with file.open("rb") as opened:
                    found.append(read_envelope(opened.read(MAX_BYTES + 1)))
            except FileNotFoundError:
                continue
            except RulesError as error:
                wrong.append(error)
                with contextlib.suppress(FileNotFoundError):
                    file.replace(file.with_suffix(".bad"))
        if wrong and not found:
            raise wrong[0]
        return max(found, key=lambda rules: rules.version, default=None)

    def tell(self, document: object) -> None:
        """The other workers, and the next start unless the power goes, have the document from here on."""
        self.write(RULES, envelope(document))

    def keep(self, document: object) -> None:
        """The document is on the disk when this returns, which may take its time."""
        self.write(DURABLE, envelope(document), durable=True)

    def write(self, name: str, content: bytes, *, durable: bool = False) -> None:
        """The file, whole or as it was before."""
        new = self.directory / f".{name}.{os.getpid()}"
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        new.replace(self.directory / name)
        if durable:
            directory = os.open(self.directory, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)


def envelope(document: object) -> bytes:
    """A document with its digest, as it is kept and as it is sent."""
    return json.dumps({"digest": digest_of(document), "document": document}, ensure_ascii=False).encode()


def read_envelope(raw: bytes) -> Rules:
    """Raises RulesError unless the document is whole and right."""
    document = open_envelope(raw)
    return parse(document)


def open_envelope(raw: bytes) -> object:
    """The document, its digest checked and the rest not."""
    if len(raw) > MAX_BYTES:
        raise RulesError("envelope", f"has more than {MAX_BYTES} bytes")
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise RulesError("envelope", f"not JSON: {error}") from None
    if not isinstance(found, dict) or set(found) != {"digest", "document"}:
        raise RulesError("envelope", "must have digest and document, and nothing else")
    if found["digest"] != digest_of(found["document"]):
        raise RulesError("envelope.digest", "is not that of the document: it was changed or cut")
    return found["document"]
