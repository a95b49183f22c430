"""C2SP checkpoints: a log's name, its size and its root, as the text of a signed note.

One checkpoint is not a claim about another: that the second extends the first is for a consistency proof to show.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from watchkeeper.core.errors import VerificationError
from watchkeeper.ledger.signing.keys import SigningKey
from watchkeeper.ledger.signing.note import Note, VerifierKey, b64, b64_strict, open_note
from watchkeeper.ledger.tree.merkle import HASH_BYTES

_MAX_DIGITS = 19


@dataclass(frozen=True)
class Checkpoint:
    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()
    """Opaque lines; we write none."""

    def to_text(self) -> str:
        return "".join(f"{line}\n" for line in (self.origin, str(self.size), b64(self.root), *self.extensions))

    @classmethod
    def from_text(cls, text: str) -> Checkpoint:
        """Raises VerificationError for anything but the text of a checkpoint."""
        try:
            return cls._read(text)
        except ValueError as error:
            raise VerificationError(
                f"not a checkpoint: {error}",
                cause="it was cut, edited, or is another kind of note",
                next_step="fetch the checkpoint again",
            ) from error

    @classmethod
    def _read(cls, text: str) -> Checkpoint:
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() != "" or not all(lines):
            raise ValueError("it needs three lines that are not empty")
        origin, size, root = lines[0], parse_size(lines[1]), b64_strict(lines[2])
        if len(root) != HASH_BYTES:
            raise ValueError("the root is not 32 bytes")
        return cls(origin, size, root, tuple(lines[3:]))


def parse_size(text: str) -> int:
    """A tree size in its one decimal spelling. Raises ValueError."""
    if not (text.isascii() and text.isdigit()) or len(text) > _MAX_DIGITS or text != str(int(text)):
        raise ValueError("the size is not a plain number")
    return int(text)


def sign_checkpoint(checkpoint: Checkpoint, *keys: SigningKey) -> str:
    """The signed note. More than one key signs where the log is handed over."""
    text = checkpoint.to_text()
    return Note(text, tuple(key.sign(text) for key in keys)).to_text()


def open_checkpoint(note: str, keys: Iterable[VerifierKey]) -> Checkpoint:
    """The checkpoint of a note that a known key of its own origin signed. Raises VerificationError."""
    read, signed = open_note(note, keys)
    checkpoint = Checkpoint.from_text(read.text)
    if all(key.name != checkpoint.origin for key in signed):
        raise VerificationError(
            f"the checkpoint of {checkpoint.origin} is signed by {signed[0].name}",
            cause="it is a checkpoint of another log",
            next_step="use the verifier key of that log",
        )
    return checkpoint
