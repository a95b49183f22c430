"""The body of C2SP tlog-witness' add-checkpoint call, written and read.

Reading is strict and bounded. Whether the proof proves anything is for the witness to say.
"""

from __future__ import annotations

from dataclasses import dataclass

from watchkeeper.core.errors import InputError, VerificationError
from watchkeeper.ledger.signing.checkpoint import parse_size
from watchkeeper.ledger.signing.note import Note, b64, b64_strict
from watchkeeper.ledger.tree.merkle import HASH_BYTES

MAX_PROOF = 63
MAX_BODY_BYTES = 262_144
"""Room for a full proof and dozens of post-quantum signatures."""
SIZE_TYPE = "text/x.tlog.size"


@dataclass(frozen=True)
class AddCheckpoint:
    old: int
    proof: tuple[bytes, ...]
    note: Note

    def to_bytes(self) -> bytes:
        lines = "".join(f"{b64(each)}\n" for each in self.proof)
        return f"old {self.old}\n{lines}\n{self.note.to_text()}".encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> AddCheckpoint:
        """Raises InputError for anything but exactly such a body."""
        try:
            return cls._read(body)
        except (ValueError, VerificationError) as error:
            raise InputError(
                f"not an add-checkpoint body: {getattr(error, 'what', error)}",
                cause="it was cut, or the sender speaks another protocol",
                next_step="see https://c2sp.org/tlog-witness",
            ) from error

    @classmethod
    def _read(cls, body: bytes) -> AddCheckpoint:
        if len(body) > MAX_BODY_BYTES:
            raise ValueError("it is too long")
        head, blank, note = body.decode().partition("\n\n")
        first, *proof = head.split("\n")
        word, space, size = first.partition(" ")
        if not blank or word != "old" or not space:
            raise ValueError("it begins with the old size, proof lines and an empty line")
        if len(proof) > MAX_PROOF:
            raise ValueError(f"more than {MAX_PROOF} proof lines")
        hashes = tuple(b64_strict(line) for line in proof)
        if any(len(each) != HASH_BYTES for each in hashes):
            raise ValueError("a proof line is not a hash")
        return cls(parse_size(size), hashes, Note.from_text(note))
