"""Small files that a person names: read with a bound, refused with their place."""

from __future__ import annotations

from pathlib import Path

from watchkeeper.core.errors import InputError

MAX_BYTES = 65_536


def bytes_of(path: Path, limit: int) -> bytes:
    """The file's bytes; of one that is longer, one byte more than the limit."""
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise _unreadable(path, error.strerror or "") from error


def text_of(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise _unreadable(path, why or "") from error


def _unreadable(path: Path, why: str) -> InputError:
    return InputError(f"cannot read the file: {why}", place=str(path), next_step="check the path")
