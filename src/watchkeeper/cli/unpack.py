"""Unpacks an export as it comes in, a tar in a stream: only the files of an export, only plain ones, only into an empty
directory. Memory stays flat. What is in the files is for verify to judge."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO

from watchkeeper.core.errors import InputError, UnavailableError

NAMES = frozenset(
    {
        *("checkpoint", "checkpoints.jsonl", "cosigned.jsonl", "entries.jsonl", "start", "vkey"),
        *("policies.jsonl", "policy-documents.jsonl"),
    }
)
LAST = "vkey"
PIECE = 1 << 20


def prepare(directory: Path) -> None:
    """Makes the directory. Raises InputError if something is in it."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        taken = any(directory.iterdir())
    except OSError as error:
        raise InputError(f"cannot use the directory: {error.strerror}", place=str(directory)) from error
    if taken:
        raise InputError(
            "the directory to export into is not empty",
            place=str(directory),
            cause="an earlier export is there, and exports are never mixed",
            next_step="name a new directory",
        )


class Stream:
    """Pieces as a file that can only be read onwards."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._rest += piece
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


def unpack(pieces: Iterator[bytes], directory: Path, seen: Callable[[str, bytes], None]) -> int:
    """Returns how many files were written; `seen` hears of each piece of each. Raises UnavailableError for what is not
    a whole export."""
    count, name = 0, ""
    try:
        with tarfile.open(fileobj=Stream(pieces), mode="r|") as tar:  # type: ignore[call-overload]
            for member in tar:
                name = member.name
                body = tar.extractfile(member) if member.isfile() and _ours(name) else None
                if body is None:
                    raise _foreign()
                _write(body, directory / name, partial(seen, name))
                count += 1
    except (tarfile.TarError, FileExistsError) as error:
        raise _foreign() from error
    if name != LAST:
        raise _foreign()
    return count


def _ours(name: str) -> bool:
    from watchkeeper.ledger.tree.tilepath import TilePath

    if name in NAMES:
        return True
    try:
        TilePath.from_text(name)
    except ValueError:
        return False
    return True


def _write(body: IO[bytes], path: Path, seen: Callable[[bytes], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        while piece := body.read(PIECE):
            file.write(piece)
            seen(piece)


def _foreign() -> UnavailableError:
    return UnavailableError(
        "what came back is not a whole export",
        cause="the daemon stopped or failed while it sent it, is of another version, or something else listens there",
        next_step="try again into a new directory; look into the daemon's log",
    )
