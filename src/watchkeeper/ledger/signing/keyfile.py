"""Files that hold a private key: made once with mode 0600, and refused when others may read them.

What is in them is their reader's business. A key is not protected from whoever may read this process' files or memory.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pydantic import SecretStr

from watchkeeper.core.errors import ConfigError


def read_private(path: Path, what: str, next_step: str) -> SecretStr:
    """The file's text; `what` names the key in errors. Raises ConfigError for a missing or exposed file."""
    try:
        _check_exposure(path, what)
        return SecretStr(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read {what}",
            place=str(path),
            cause=getattr(error, "strerror", None) or "the file is not text",
            next_step=next_step,
        ) from error


def create_private(path: Path, secret: SecretStr, what: str, next_step: str) -> None:
    """Writes a new file (mode 0600), durably. Raises ConfigError if it exists: a key is never replaced."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigError(
            f"cannot make {what}: {error.strerror}",
            place=str(path),
            cause="it exists already, or the directory cannot be written",
            next_step=next_step,
        ) from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(secret.get_secret_value() + "\n")
        file.flush()
        os.fsync(file.fileno())


def _check_exposure(path: Path, what: str) -> None:
    """Others may not read it and a group may not write it. A group may read a file of root's: a mounted secret."""
    status = path.stat()
    allowed_to_group = stat.S_IRGRP if status.st_uid == 0 != os.geteuid() else 0
    if stat.S_IMODE(status.st_mode) & (stat.S_IRWXG | stat.S_IRWXO) & ~allowed_to_group:
        raise ConfigError(
            f"{what} can be read by others",
            place=str(path),
            cause=f"its mode is {stat.S_IMODE(status.st_mode):04o}",
            next_step=f"chmod 600 {path}, and consider the key known",
        )
