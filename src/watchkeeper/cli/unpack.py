"""Unpacks an export that the daemon sent as a tar: only the files of an export, only plain ones, only into an empty
directory."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path
from typing import IO

from watchkeeper.core.errors import InputError, UnavailableError

NAMES = ("checkpoint", "checkpoints.jsonl", "cosigned.jsonl", "entries.jsonl", "vkey")


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


def unpack(archive: IO[bytes], directory: Path) -> list[str]:
    """Returns the names written. Raises UnavailableError for what is not an export."""
    try:
        with tarfile.open(fileobj=archive, mode="r:") as tar:
            members = {member.name: member for member in tar if member.isfile()}
            if sorted(members) != sorted(NAMES):
                raise _foreign()
            for name in NAMES:
                body = tar.extractfile(members[name])
                assert body is not None, "isfile() was asked above"
                with (directory / name).open("xb") as file:
                    shutil.copyfileobj(body, file)
    except tarfile.TarError as error:
        raise _foreign() from error
    return list(NAMES)


def _foreign() -> UnavailableError:
    return UnavailableError(
        "what came back is not an export",
        cause="something else listens at this address, or the daemon is of another version",
        next_step="watchkeeper --version, and check --api-url",
    )
