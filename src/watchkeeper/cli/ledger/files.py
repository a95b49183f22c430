"""Small files that a person names: read with a bound, refused with their place."""

from __future__ import annotations

from pathlib import Path

from watchkeeper.core.errors import InputError

MAX_BYTES = 65_536


def text_of(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InputError(f"cannot read the file: {why}", place=str(path), next_step="check the path") from error
