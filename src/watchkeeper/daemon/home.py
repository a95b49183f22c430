"""The data directory: its lock, the daemon's own token and key, and where the API listens.

The lock makes the embedded profile one process: a second daemon on the same directory is refused.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from pathlib import Path
from typing import IO

from pydantic import SecretStr

from watchkeeper.core.errors import ConflictError

TOKEN_FILE = "local.token"  # noqa: S105  # a file name
API_FILE = "api.json"
KEY_FILE = "ledger.key"
PREVIOUS_KEY_FILE = "ledger.key.previous"


class Home:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None

    def open(self) -> None:
        """Makes the directory (mode 0700) and takes its lock. Raises ConflictError if another daemon holds it."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = (self.path / "lock").open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            self._lock = None
            raise ConflictError(
                f"another daemon uses {self.path}",
                cause="it is running, or has not ended yet",
                next_step="watchkeeper status, or choose another data_dir",
            ) from error

    def close(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def local_token(self) -> SecretStr:
        """The admin token of whoever may read this directory; made once, mode 0600."""
        path = self.path / TOKEN_FILE
        if not path.exists():
            write_private(path, "wk_" + secrets.token_urlsafe(32))
        return SecretStr(path.read_text().strip())

    def announce(self, url: str) -> None:
        """Tells local commands where the API is."""
        write_private(self.path / API_FILE, json.dumps({"url": url, "pid": os.getpid()}))


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner may read, all or nothing."""
    scratch = path.with_suffix(path.suffix + ".new")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
