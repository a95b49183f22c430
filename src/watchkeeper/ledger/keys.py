"""The log's signing key: made once, kept in a file that only its owner may read, or given as a secret.

The text form is the Go note package's `PRIVATE+KEY+NAME+KEYID+BASE64(0x01 || seed)`. The name is the log's origin.
It does not protect the key from whoever may read this process' files or memory.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr

from watchkeeper.core.errors import ConfigError
from watchkeeper.ledger.note import ED25519, SignatureLine, VerifierKey, b64, b64_strict, valid_name

_PREFIX = "PRIVATE+KEY+"


class SigningKey:
    """Signs note texts. Its `repr` says nothing about the key."""

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        if not valid_name(name):
            raise ConfigError(
                f"{name!r} cannot name a log",
                cause="an origin is not empty and has no spaces and no plus sign",
                next_step="set ledger.origin, for example watchkeeper.example.com/log",
            )
        self._private = private
        self.verifier = VerifierKey(name, private.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, name: str) -> SigningKey:
        return cls(name, Ed25519PrivateKey.generate())

    @classmethod
    def from_secret(cls, secret: SecretStr) -> SigningKey:
        """Reads the text form. Raises ConfigError, which never shows any of it."""
        parts = secret.get_secret_value().strip().removeprefix(_PREFIX).split("+", 2)
        try:
            name, stated, coded = parts
            data = b64_strict(coded)
        except ValueError:
            raise _unusable("it does not read PRIVATE+KEY+NAME+KEYID+BASE64") from None
        if not secret.get_secret_value().startswith(_PREFIX) or len(data) != 33 or data[0] != ED25519:
            raise _unusable("it is not an Ed25519 key in the form PRIVATE+KEY+NAME+KEYID+BASE64")
        key = cls(name, Ed25519PrivateKey.from_private_bytes(data[1:]))
        if key.verifier.key_id.hex() != stated:
            raise _unusable("its key id does not fit its name and key: it was cut or edited")
        return key

    @property
    def name(self) -> str:
        return self.verifier.name

    def to_secret(self) -> SecretStr:
        verifier = self.verifier
        seed = b64(bytes([ED25519]) + self._private.private_bytes_raw())
        return SecretStr(f"{_PREFIX}{verifier.name}+{verifier.key_id.hex()}+{seed}")

    def sign(self, text: str) -> SignatureLine:
        return SignatureLine(self.name, self.verifier.key_id, self._private.sign(text.encode()))

    def __repr__(self) -> str:
        return f"SigningKey({self.verifier.vkey})"


def load_key(path: Path, origin: str) -> SigningKey:
    """Reads the key file. Raises ConfigError for a missing, exposed or foreign key."""
    try:
        _check_exposure(path)
        key = SigningKey.from_secret(SecretStr(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "cannot read the log's signing key",
            place=str(path),
            cause=getattr(error, "strerror", None) or "the file is not text",
            next_step="watchkeeper config check",
        ) from error
    return check_origin(key, origin)


def check_origin(key: SigningKey, origin: str) -> SigningKey:
    """The key again, if it is this log's."""
    if key.name != origin:
        raise ConfigError(
            f"the signing key is for {key.name}, the log is {origin}",
            cause="ledger.origin was changed, or the key belongs to another installation",
            next_step=f"set ledger.origin to {key.name}, or use the log's own key",
        )
    return key


def create_key(path: Path, origin: str) -> SigningKey:
    """Makes a key and its file (mode 0600). Raises ConfigError if the file exists: a log keeps its key."""
    key = SigningKey.generate(origin)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigError(
            f"cannot make the log's signing key: {error.strerror}",
            place=str(path),
            cause="it exists already, or the directory cannot be written",
            next_step="watchkeeper config check",
        ) from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(key.to_secret().get_secret_value() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return key


def _check_exposure(path: Path) -> None:
    """Others may not read it and a group may not write it. A group may read a file of root's: a mounted secret."""
    status = path.stat()
    allowed_to_group = stat.S_IRGRP if status.st_uid == 0 != os.geteuid() else 0
    if stat.S_IMODE(status.st_mode) & (stat.S_IRWXG | stat.S_IRWXO) & ~allowed_to_group:
        raise ConfigError(
            "the log's signing key can be read by others",
            place=str(path),
            cause=f"its mode is {stat.S_IMODE(status.st_mode):04o}",
            next_step=f"chmod 600 {path}, and consider the key known",
        )


def _unusable(cause: str) -> ConfigError:
    return ConfigError("the log's signing key is not usable", cause=cause, next_step="watchkeeper config check")
