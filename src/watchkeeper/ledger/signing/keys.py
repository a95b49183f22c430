"""The log's signing key: made once, kept in a file that only its owner may read, or given as a secret.

The text form is the Go note package's `PRIVATE+KEY+NAME+KEYID+BASE64(0x01 || seed)`. The name is the log's origin.
It does not protect the key from whoever may read this process' files or memory.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr

from watchkeeper.core.errors import ConfigError
from watchkeeper.ledger.signing.keyfile import create_private, read_private
from watchkeeper.ledger.signing.note import ED25519, SignatureLine, VerifierKey, b64, b64_strict, valid_name

_PREFIX = "PRIVATE+KEY+"
_WHAT, _NEXT = "the log's signing key", "watchkeeper config check"


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
    return check_origin(SigningKey.from_secret(read_private(path, _WHAT, _NEXT)), origin)


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
    create_private(path, key.to_secret(), _WHAT, _NEXT)
    return key


def _unusable(cause: str) -> ConfigError:
    return ConfigError("the log's signing key is not usable", cause=cause, next_step="watchkeeper config check")
