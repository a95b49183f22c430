"""C2SP signed notes: text with signature lines, and the verifier keys (vkey) that open them.

The keys here are Ed25519 (type 0x01); those of cosigners are in `cosignature`. A note says who signed a text; what the
text means is not its business. Reading is strict, so that `Note.from_text(x).to_text() == x` for everything that is
read at all.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from watchkeeper.core.errors import InputError, VerificationError

ED25519 = 0x01
MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 100
_DASH = "— "
_KEY_ID_BYTES = 4


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def b64_strict(text: str) -> bytes:
    """Standard base64 in its one canonical spelling. Raises ValueError."""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    if b64(data) != text:
        raise ValueError("not canonical base64")
    return data


def key_id(name: str, kind: int, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:_KEY_ID_BYTES]


def valid_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(char.isspace() or ord(char) < 0x20 for char in name)


class NoteKey(Protocol):
    """Whatever opens notes: each kind of key knows what its signatures are over."""

    @property
    def name(self) -> str: ...

    @property
    def key_id(self) -> bytes: ...

    def verifies(self, text: str, signature: bytes) -> bool: ...


Key = TypeVar("Key", bound=NoteKey)


@dataclass(frozen=True)
class VerifierKey:
    """A public key that opens notes. Its text form is what people remember out of band."""

    name: str
    public: bytes

    @classmethod
    def from_vkey(cls, vkey: str) -> VerifierKey:
        """Reads `name+keyid+base64(type || key)`. Raises InputError."""
        name, kind, public = parse_vkey(vkey)
        if kind != ED25519 or len(public) != 32:
            raise bad_vkey("it does not read NAME+KEYID+BASE64 of an Ed25519 key")
        return cls(name, public)

    @property
    def key_id(self) -> bytes:
        return key_id(self.name, ED25519, self.public)

    @property
    def vkey(self) -> str:
        return vkey_text(self.name, ED25519, self.public)

    def verifies(self, text: str, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


def vkey_text(name: str, kind: int, public: bytes) -> str:
    return f"{name}+{key_id(name, kind, public).hex()}+{b64(bytes([kind]) + public)}"


def parse_vkey(vkey: str) -> tuple[str, int, bytes]:
    """The name, the type and the public key of `name+keyid+base64(type || key)`. Raises InputError."""
    name, _, rest = vkey.strip().partition("+")
    stated, _, coded = rest.partition("+")
    try:
        data = b64_strict(coded)
    except ValueError:
        data = b""
    if not valid_name(name) or len(data) < 2:
        raise bad_vkey("it does not read NAME+KEYID+BASE64")
    if key_id(name, data[0], data[1:]).hex() != stated:
        raise bad_vkey("its key id does not fit its name and key: it was cut or mistyped")
    return name, data[0], data[1:]


def bad_vkey(cause: str) -> InputError:
    return InputError("the verifier key is not usable", cause=cause, next_step="watchkeeper ledger key")


@dataclass(frozen=True)
class SignatureLine:
    name: str
    key_id: bytes
    signature: bytes

    def to_text(self) -> str:
        return f"{_DASH}{self.name} {b64(self.key_id + self.signature)}\n"

    @classmethod
    def from_line(cls, line: str) -> SignatureLine:
        """Raises ValueError."""
        if not line.startswith(_DASH):
            raise ValueError("a signature line starts with an em dash")
        name, space, coded = line[len(_DASH) :].partition(" ")
        data = b64_strict(coded)
        if not space or not valid_name(name) or len(data) <= _KEY_ID_BYTES:
            raise ValueError("a signature line reads: em dash, name, base64")
        return cls(name, data[:_KEY_ID_BYTES], data[_KEY_ID_BYTES:])


@dataclass(frozen=True)
class Note:
    """A text (it ends in a newline) and at least one signature line. Reading it verifies nothing: `open_note` does."""

    text: str
    signatures: tuple[SignatureLine, ...]

    def to_text(self) -> str:
        return self.text + "\n" + "".join(line.to_text() for line in self.signatures)

    @classmethod
    def from_text(cls, note: str) -> Note:
        """Raises VerificationError for anything that is not exactly a signed note."""
        try:
            return cls._read(note)
        except ValueError as error:
            raise VerificationError(
                f"not a signed note: {error}",
                cause="it was cut, edited, or is another kind of file",
                next_step="fetch the checkpoint again",
            ) from error

    @classmethod
    def _read(cls, note: str) -> Note:
        if len(note) > MAX_NOTE_BYTES:
            raise ValueError("it is too long")
        note.encode()  # lone surrogates: UnicodeEncodeError is a ValueError
        if any(ord(char) < 0x20 and char != "\n" for char in note):
            raise ValueError("it holds control characters")
        cut = note.rfind("\n\n")
        lines = note[cut + 2 :].split("\n")
        if cut < 0 or len(lines) < 2 or lines.pop() != "":
            raise ValueError("no signature lines after a blank line")
        if len(lines) > MAX_SIGNATURES:
            raise ValueError("too many signatures")
        return cls(note[: cut + 1], tuple(SignatureLine.from_line(line) for line in lines))


def open_note(note: str, keys: Iterable[Key]) -> tuple[Note, tuple[Key, ...]]:
    """The note and the known keys that signed it. Unknown signatures are ignored; a known key's bad signature, or no
    known key at all, raises VerificationError."""
    read = Note.from_text(note)
    known = {(key.name, key.key_id): key for key in keys}
    signed: list[Key] = []
    for line in read.signatures:
        key = known.get((line.name, line.key_id))
        if key is None or key in signed:
            continue
        if not key.verifies(read.text, line.signature):
            raise VerificationError(
                f"the signature of {key.name} does not fit the text",
                cause="the text was changed after it was signed",
                next_step="compare it with a copy that others keep",
            )
        signed.append(key)
    if not signed:
        raise VerificationError(
            "no known key signed this",
            cause="it is of another log, or the key was changed",
            next_step="compare the verifier key with the one you remember: watchkeeper ledger key",
        )
    return read, tuple(signed)
