"""Files of one JSON value a line, read as they are: whole, or one part of a file by one of several processes.

A part begins where the one before it ends, and both end at the end of a line. It does not look into the lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from watchkeeper.core.errors import InputError


class Part(NamedTuple):
    """The lines that lie in the bytes from `start` up to, not including, `end`."""

    start: int
    end: int


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise unreadable(path, error) from error


def parts(path: Path, count: int) -> list[Part]:
    """At most `count` parts of about the same size, which together are the file."""
    size = size_of(path)
    bounds = [0]
    try:
        with path.open("rb") as file:
            for number in range(1, count):
                file.seek(max(bounds[-1], size * number // count))
                file.readline()
                bounds.append(file.tell())
    except OSError as error:
        raise unreadable(path, error) from error
    return [Part(start, end) for start, end in zip(bounds, [*bounds[1:], size], strict=True) if start < end]


def lines(path: Path, limit: int, part: Part | None = None) -> Iterator[bytes]:
    """Lines without their newline, none longer than the limit."""
    try:
        with path.open("rb") as file:
            start, end = part or Part(0, size_of(path))
            file.seek(start)
            while start < end and (line := file.readline(limit + 2)):
                if not line.endswith(b"\n"):
                    raise InputError(
                        "a line is cut or too long",
                        place=str(path),
                        cause="the export is not complete, or was edited",
                        next_step="export again: watchkeeper ledger export",
                    )
                start += len(line)
                yield line[:-1]
    except OSError as error:
        raise unreadable(path, error) from error


def last_line(path: Path, limit: int) -> bytes | None:
    """The last line; None of an empty file."""
    size = size_of(path)
    last = None
    try:
        with path.open("rb") as file:
            file.seek(max(0, size - limit - 2))
            tail = file.read()
    except OSError as error:
        raise unreadable(path, error) from error
    if tail:
        last = tail.removesuffix(b"\n").rsplit(b"\n", 1)[-1]
    return last


def unreadable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"cannot read the export: {error.strerror}",
        place=str(path),
        cause="it is not an export, or files of it are missing",
        next_step="export again: watchkeeper ledger export",
    )
