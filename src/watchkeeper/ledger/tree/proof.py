"""Proofs as files that are checked without us, pure: C2SP tlog-proof for one entry, and that a log only grew.

That a tree extends another is the body of C2SP tlog-witness' add-checkpoint call (addcheckpoint.py). Reading is
strict: what is read at all is written back unchanged. A proof proves only against a checkpoint that the caller has
opened with a key it trusts; whether an entry is true is not its business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from watchkeeper.core.errors import VerificationError
from watchkeeper.ledger.cosigning.addcheckpoint import MAX_PROOF, AddCheckpoint
from watchkeeper.ledger.signing.checkpoint import Checkpoint, parse_size
from watchkeeper.ledger.signing.note import MAX_NOTE_BYTES, Note, b64, b64_strict
from watchkeeper.ledger.tree.merkle import HASH_BYTES, leaf_hash, verify_consistency, verify_inclusion

HEADER = "c2sp.org/tlog-proof@v1"
SUFFIX = ".tlog-proof"
MAX_PROOF_BYTES = MAX_NOTE_BYTES + 100_000
"""A checkpoint with its cosignatures, and some opaque extra data, of which we write none."""


@dataclass(frozen=True)
class TlogProof:
    """That an entry is leaf `index` of the tree that the note's checkpoint signs. `extra` is not authenticated."""

    index: int
    hashes: tuple[bytes, ...]
    note: Note
    extra: bytes = b""

    def to_text(self) -> str:
        extra = f"extra {b64(self.extra)}\n" if self.extra else ""
        return f"{HEADER}\n{extra}index {self.index}\n{_lines(self.hashes)}\n{self.note.to_text()}"

    @classmethod
    def from_text(cls, text: str) -> TlogProof:
        """Raises VerificationError for anything that is not exactly a proof."""
        try:
            head, note = _parted(text)
            if head.pop(0) != HEADER:
                raise ValueError(f"the first line is not {HEADER}")
            extra = _extra(head)
            return cls(_index(head), _hashes(head), note, extra)
        except ValueError as error:
            raise _no_proof(error) from error

    def prove(self, entry: bytes, checkpoint: Checkpoint) -> None:
        """Raises VerificationError if it does not prove these bytes. `checkpoint` is that of its note, opened."""
        if not verify_inclusion(self.index, checkpoint.size, leaf_hash(entry), self.hashes, checkpoint.root):
            raise VerificationError(
                f"the proof does not show that this is entry {self.index} of {checkpoint.origin}",
                cause="the entry's bytes, the index or the proof were changed, or they do not belong together",
                next_step="take both from the log again: watchkeeper ledger prove ENTRY -o FILE --entry FILE",
            )


def prove_growth(proof: AddCheckpoint, remembered: Checkpoint, checkpoint: Checkpoint) -> None:
    """Raises VerificationError if the proof's checkpoint, opened, does not extend the remembered one."""
    fits = remembered.size == proof.old and remembered.origin == checkpoint.origin
    if not fits or not verify_consistency(proof.old, checkpoint.size, remembered.root, checkpoint.root, proof.proof):
        raise VerificationError(
            f"the proof does not show that {checkpoint.origin} only grew since {remembered.size} entries",
            cause=f"it is a proof from {proof.old} entries on, or the log was rewritten since",
            next_step="watchkeeper ledger verify --anchor FILE, with the checkpoint that you remember",
        )


def _parted(text: str) -> tuple[list[str], Note]:
    """The lines before the first empty line, and the signed note after it."""
    if len(text) > MAX_PROOF_BYTES:
        raise ValueError("it is too long")
    head, blank, note = text.partition("\n\n")
    if not blank:
        raise ValueError("no checkpoint after an empty line")
    try:
        return head.split("\n"), Note.from_text(note)
    except VerificationError as error:
        raise ValueError(error.what) from error


def _extra(head: list[str]) -> bytes:
    """Takes the line `extra BASE64`, if there is one."""
    if not head or not head[0].startswith("extra "):
        return b""
    data = b64_strict(head.pop(0).removeprefix("extra "))
    if not data:
        raise ValueError("extra data that is empty is left out")
    return data


def _index(head: list[str]) -> int:
    """Takes the line `index NUMBER`."""
    word, _, number = (head.pop(0) if head else "").partition(" ")
    if word != "index":
        raise ValueError("a line reads: index NUMBER")
    return parse_size(number)


def _hashes(head: Sequence[str]) -> tuple[bytes, ...]:
    if len(head) > MAX_PROOF:
        raise ValueError(f"more than {MAX_PROOF} hashes")
    hashes = tuple(map(b64_strict, head))
    if any(len(each) != HASH_BYTES for each in hashes):
        raise ValueError("a hash has 32 bytes")
    return hashes


def _lines(hashes: Sequence[bytes]) -> str:
    return "".join(f"{b64(each)}\n" for each in hashes)


def _no_proof(error: ValueError) -> VerificationError:
    return VerificationError(
        f"not a tlog-proof: {error}",
        cause="it was cut, edited, or is another kind of file",
        next_step="make it again: watchkeeper ledger prove",
    )
