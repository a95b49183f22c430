"""C2SP tlog-cosignatures: what a witness says of a checkpoint, and the keys that say and verify it.

Two types: Ed25519 (0x04) and ML-DSA-44 (0x06). A cosignature says that, at its time, this was the largest tree which
the witness had seen of that log, and that it extends all it had seen before. It does not say that the entries are true,
nor that the witness's clock is right.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey
from pydantic import SecretStr

from watchkeeper.core.errors import ConfigError, VerificationError
from watchkeeper.ledger.signing.checkpoint import Checkpoint
from watchkeeper.ledger.signing.note import (
    SignatureLine,
    b64,
    b64_strict,
    bad_vkey,
    key_id,
    parse_vkey,
    valid_name,
    vkey_text,
)

COSIGNATURE_ED25519 = 0x04
COSIGNATURE_ML_DSA_44 = 0x06
MAX_TIME = 2**63 - 1
_PUBLIC_BYTES = {COSIGNATURE_ED25519: 32, COSIGNATURE_ML_DSA_44: 1312}
_SIGNATURE_BYTES = {COSIGNATURE_ED25519: 64, COSIGNATURE_ML_DSA_44: 2420}
_SEED_BYTES = 32
_TIME_BYTES = 8
_LABEL = b"subtree/v1\n\x00"
_PREFIX = "PRIVATE+KEY+"


@dataclass(frozen=True)
class CosignerKey:
    """A witness's public key. Its vkey is what others write into their policies."""

    name: str
    kind: int
    public: bytes

    @classmethod
    def from_vkey(cls, vkey: str) -> CosignerKey:
        """Raises InputError."""
        name, kind, public = parse_vkey(vkey)
        if len(public) != _PUBLIC_BYTES.get(kind):
            raise bad_vkey(f"it is of type 0x{kind:02x}; a witness's key is of type 0x04 (Ed25519) or 0x06 (ML-DSA-44)")
        return cls(name, kind, public)

    @property
    def key_id(self) -> bytes:
        return key_id(self.name, self.kind, self.public)

    @property
    def vkey(self) -> str:
        return vkey_text(self.name, self.kind, self.public)

    def verifies(self, text: str, signature: bytes) -> bool:
        """Whether this is a cosignature of a checkpoint's text; of a text that is no checkpoint there is none."""
        at, rest = int.from_bytes(signature[:_TIME_BYTES]), signature[_TIME_BYTES:]
        if len(rest) != _SIGNATURE_BYTES[self.kind] or at > MAX_TIME:
            return False
        try:
            message = _message(self.name, self.kind, text, at)
            if self.kind == COSIGNATURE_ED25519:
                Ed25519PublicKey.from_public_bytes(self.public).verify(rest, message)
            else:
                MLDSA44PublicKey.from_public_bytes(self.public).verify(rest, message)
        except (InvalidSignature, VerificationError, ValueError):
            return False
        return True


def time_of(line: SignatureLine) -> int:
    """When a cosignature says it was made, in seconds since 1970. Of a line that was not verified it means nothing."""
    return int.from_bytes(line.signature[:_TIME_BYTES])


class CosigningKey:
    """Cosigns checkpoints. Its `repr` says nothing about the key."""

    def __init__(self, name: str, private: Ed25519PrivateKey | MLDSA44PrivateKey) -> None:
        if not valid_name(name) or len(name.encode()) > 255:
            raise ConfigError(
                f"{name[:80]!r} cannot name a witness",
                cause="a name is not empty, has no spaces and no plus sign, and at most 255 bytes",
                next_step="name it like witness.example.com/w1",
            )
        kind = COSIGNATURE_ED25519 if isinstance(private, Ed25519PrivateKey) else COSIGNATURE_ML_DSA_44
        self._private = private
        self.public = CosignerKey(name, kind, private.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, name: str, kind: int = COSIGNATURE_ED25519) -> CosigningKey:
        made = Ed25519PrivateKey.generate() if kind == COSIGNATURE_ED25519 else MLDSA44PrivateKey.generate()
        return cls(name, made)

    @classmethod
    def from_secret(cls, secret: SecretStr) -> CosigningKey:
        """Reads `PRIVATE+KEY+NAME+KEYID+BASE64(type || seed)`. Raises ConfigError, which never shows any of it."""
        text = secret.get_secret_value().strip()
        try:
            name, stated, coded = text.removeprefix(_PREFIX).split("+", 2)
            data = b64_strict(coded)
        except ValueError:
            raise _unusable("it does not read PRIVATE+KEY+NAME+KEYID+BASE64") from None
        if not text.startswith(_PREFIX) or len(data) != 1 + _SEED_BYTES or data[0] not in _PUBLIC_BYTES:
            raise _unusable("it is not a cosigner's key in the form PRIVATE+KEY+NAME+KEYID+BASE64")
        key = cls(name, _private(data[0], data[1:]))
        if key.public.key_id.hex() != stated:
            raise _unusable("its key id does not fit its name and key: it was cut or edited")
        return key

    def to_secret(self) -> SecretStr:
        seed = b64(bytes([self.public.kind]) + self._private.private_bytes_raw())
        return SecretStr(f"{_PREFIX}{self.public.name}+{self.public.key_id.hex()}+{seed}")

    def cosign(self, text: str, at: int) -> SignatureLine:
        """`at` in seconds since 1970. Whoever calls this has verified that the checkpoint extends all it saw before."""
        signed = self._private.sign(_message(self.public.name, self.public.kind, text, at))
        return SignatureLine(self.public.name, self.public.key_id, at.to_bytes(_TIME_BYTES) + signed)

    def __repr__(self) -> str:
        return f"CosigningKey({self.public.name}+{self.public.key_id.hex()})"


def _private(kind: int, seed: bytes) -> Ed25519PrivateKey | MLDSA44PrivateKey:
    if kind == COSIGNATURE_ED25519:
        return Ed25519PrivateKey.from_private_bytes(seed)
    return MLDSA44PrivateKey.from_seed_bytes(seed)


def _message(name: str, kind: int, text: str, at: int) -> bytes:
    """What is signed. ML-DSA-44 covers the tree alone and not a checkpoint's extension lines."""
    checkpoint = Checkpoint.from_text(text)
    if kind == COSIGNATURE_ED25519:
        return f"cosignature/v1\ntime {at}\n{text}".encode()
    numbers = (at, 0, checkpoint.size)
    time, start, end = (number.to_bytes(8) for number in numbers)
    return _LABEL + _short(name) + time + _short(checkpoint.origin) + start + end + checkpoint.root


def _short(text: str) -> bytes:
    """As TLS writes `opaque <1..2^8-1>`. Raises ValueError beyond it."""
    data = text.encode()
    return bytes([len(data)]) + data


def _unusable(cause: str) -> ConfigError:
    return ConfigError("the witness's key is not usable", cause=cause, next_step="watchkeeper witness key --data DIR")
