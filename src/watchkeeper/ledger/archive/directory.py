"""An archive in a directory. A file appears under its name whole and on the disk, or not at all.

Files are read-only, which keeps nobody who owns them from deleting them: there is no lock here.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from watchkeeper.core.errors import ConfigError, InputError, UnavailableError
from watchkeeper.ledger.archive.storage import MAX_OBJECT_BYTES, Stored

_PART = ".part-"


class DirectoryStorage:
    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def place(self) -> str:
        return str(self._path)

    def prepare(self) -> None:
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            for left in self._path.glob(f"{_PART}*"):
                left.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(
                f"the archive's directory cannot be made: {error.strerror}",
                place=self.place,
                cause="a part of the path is a file, or this user may not write there",
                next_step="change ledger.archive.path, or the directory's owner",
            ) from error

    def locked_until(self, now: datetime) -> datetime | None:
        return None

    def put(self, name: str, body: bytes, media_type: str, until: datetime | None) -> bool:
        path = self._file(name)
        part = self._path / f"{_PART}{secrets.token_hex(8)}"
        try:
            _make(path.parent, self._path)
            _write(part, body)
            try:
                os.link(part, path)  # unlike a rename, it does not replace
            except FileExistsError:
                return False
            finally:
                part.unlink()
            _sync(path.parent)
        except OSError as error:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise self._failed(name, error) from error
        return True

    def get(self, name: str) -> Stored | None:
        try:
            with self._file(name).open("rb") as file:
                return Stored(file.read(MAX_OBJECT_BYTES), None)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(name, error) from error

    def _file(self, name: str) -> Path:
        path = self._path / name
        if ".." in path.parts or path.name.startswith(_PART):
            raise InputError("an object's name leads out of the archive", place=name, next_step="watchkeeper --help")
        return path

    def _failed(self, name: str, error: OSError) -> UnavailableError:
        return UnavailableError(
            f"the archive did not do as asked: {error.strerror}",
            place=f"{self.place}/{name}",
            cause="its file system is full, read-only or gone",
            next_step="see to it, then: watchkeeper ledger archive",
        )


def _make(directory: Path, top: Path) -> None:
    """Makes missing directories; each is on the disk before something is put into it."""
    if directory == top or directory.is_dir():
        return
    _make(directory.parent, top)
    directory.mkdir(exist_ok=True)
    _sync(directory.parent)


def _write(path: Path, body: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
    with os.fdopen(descriptor, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
