"""Where the log's signing keys come from: the settings, or files of the data directory; and rotation of the latter.

It does not tell whether a key is the log's: the sequencer finds that out from the newest checkpoint.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from watchkeeper.core.errors import ConfigError, ConflictError, NotFoundError, VerificationError
from watchkeeper.daemon.home import KEY_FILE, PREVIOUS_KEY_FILE
from watchkeeper.daemon.ledgersettings import LedgerSettings
from watchkeeper.ledger.signing.checkpoint import open_checkpoint
from watchkeeper.ledger.signing.keys import SigningKey, check_origin, create_key, load_key
from watchkeeper.ledger.signing.note import VerifierKey


@dataclass(frozen=True)
class Keys:
    """`previous` is there while the log may still have to be handed over from it."""

    current: SigningKey
    previous: SigningKey | None = None

    @property
    def known(self) -> tuple[VerifierKey, ...]:
        """The keys that checkpoints of this log may have, as far as we were given them."""
        return tuple(key.verifier for key in (self.current, self.previous) if key is not None)


def given(settings: LedgerSettings) -> Keys | None:
    """What the settings name; None where the key is the data directory's."""
    current = _given(settings.signing_key, settings.signing_key_path, settings.origin)
    return None if current is None else _pair(current, _given_previous(settings))


def keys(settings: LedgerSettings, directory: Path) -> Keys:
    """The keys to sign with. Makes the data directory's at the first start."""
    named = given(settings)
    if named is not None:
        return named
    path, kept = directory / KEY_FILE, directory / PREVIOUS_KEY_FILE
    current = load_key(path, settings.origin) if path.exists() else create_key(path, settings.origin)
    previous = _given_previous(settings)
    if previous is None and kept.exists():
        previous = load_key(kept, settings.origin)
    return _pair(current, previous)


def own_key(settings: LedgerSettings, directory: Path) -> Path:
    """The data directory's key, where it is the log's. Raises ConfigError, NotFoundError."""
    if settings.signing_key is not None or settings.signing_key_path is not None:
        raise ConfigError(
            "the signing key is not kept in the data directory",
            place="ledger.signing_key",
            cause="the settings name it",
            next_step="make one (watchkeeper ledger keygen), name it there, and the old one as ledger.previous_...",
        )
    path = directory / KEY_FILE
    if not path.exists():
        raise NotFoundError(
            f"there is no {path}",
            cause="no daemon was started with this data directory, or the settings that name it were not given",
            next_step="watchkeeper ledger rotate-key --config PATH",
        )
    return path


def rotate(settings: LedgerSettings, directory: Path, newest: str | None) -> Keys:
    """Makes another key in the data directory and keeps the one before it beside it. `newest` is the log's newest
    checkpoint, if there is one. A crash leaves the old key in force, or the new one with the old one kept."""
    path = own_key(settings, directory)
    kept, scratch = (directory / name for name in (PREVIOUS_KEY_FILE, f"{KEY_FILE}.new"))
    current = load_key(path, settings.origin)
    if kept.exists() and not _recorded(current, newest):
        raise ConflictError(
            "the key's last rotation is not in the log yet",
            place=str(kept),
            cause="no daemon has run since; to rotate again now would lose the key that signed the log",
            next_step="watchkeeper serve, and rotate again when it has run",
        )
    scratch.unlink(missing_ok=True)
    following = create_key(scratch, settings.origin)
    _keep(path, kept)
    scratch.replace(path)
    _flush(directory)
    return Keys(following, current)


def _given(secret: SecretStr | None, path: Path | None, origin: str) -> SigningKey | None:
    if secret is not None:
        return check_origin(SigningKey.from_secret(secret), origin)
    return None if path is None else load_key(path, origin)


def _given_previous(settings: LedgerSettings) -> SigningKey | None:
    return _given(settings.previous_signing_key, settings.previous_key_path, settings.origin)


def _pair(current: SigningKey, previous: SigningKey | None) -> Keys:
    """The same key twice is one key: a rotation was interrupted before the new one was in place."""
    return Keys(current, None if previous is None or previous.verifier == current.verifier else previous)


def _recorded(current: SigningKey, newest: str | None) -> bool:
    """Whether the log, if there is one, is already the current key's."""
    if newest is None:
        return True
    try:
        open_checkpoint(newest, [current.verifier])
    except VerificationError:
        return False
    return True


def _keep(path: Path, kept: Path) -> None:
    """A second name for the key's file, so that it is under both until the new one takes its place."""
    spare = kept.with_suffix(".spare")
    spare.unlink(missing_ok=True)
    os.link(path, spare)
    spare.replace(kept)
    spare.unlink(missing_ok=True)  # two names of one file: replacing does nothing


def _flush(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
