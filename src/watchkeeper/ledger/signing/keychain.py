"""Which key is good for which checkpoint of a log whose key was rotated, pure.

A rotation is an entry that names the key before and the key after it. The first checkpoint that covers it is signed by
both, later ones by the following key alone. Who trusts one key of the log can so check all of it:

- forward: a rotation under a checkpoint that a good key and its successor signed makes the successor good from there
  on, and the key before it good for nothing that is longer;
- backward: the log that a trusted key signed holds the rotations that led to it, and so names the keys before.

It does not say whether a rotation was wanted, nor that the rotations it is given are entries of the log: they must come
from the same bytes that are hashed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import ValidationError

from watchkeeper.core.entries import EntryType, Envelope, KeyRotated
from watchkeeper.core.errors import InputError, VerificationError
from watchkeeper.ledger.signing.checkpoint import Checkpoint, open_checkpoint
from watchkeeper.ledger.signing.note import VerifierKey, open_note

MAX_ROTATIONS = 1000
"""More than that are not read: a key a day for years."""

_MARK = f'"type":"{EntryType.KEY_ROTATED.value}"'.encode()


@dataclass(frozen=True)
class Rotation:
    """Entry `index` hands the log over."""

    index: int
    previous: VerifierKey
    following: VerifierKey


def rotation_in(index: int, body: bytes) -> Rotation | None:
    """The rotation that an entry's bytes record; None for every other entry. Cheap for those: one search of bytes.

    Whoever writes the log and whoever checks it must ask this same question."""
    if _MARK not in body:
        return None
    try:
        entry = Envelope.model_validate_json(body)
        if entry.type != EntryType.KEY_ROTATED:
            return None
        said = KeyRotated.model_validate(entry.data)
        return Rotation(index, VerifierKey.from_vkey(said.previous), VerifierKey.from_vkey(said.following))
    except (ValidationError, InputError):
        return None


class KeyChain:
    """Opens the checkpoints of one log from the smallest to the greatest. `rotations` are those of the whole log."""

    def __init__(self, trusted: Iterable[VerifierKey], rotations: Iterable[Rotation] = ()) -> None:
        self._trusted = tuple(trusted)
        self._links = _linked(rotations)
        self._keys = _keys(self._links)
        """Key n is in force before link n, and from link n - 1 on."""
        self._at = 0
        self._good = max((era for era, key in enumerate(self._keys) if key in self._trusted), default=-1)
        """The last key that is trusted, or was made good by a checkpoint that both keys signed."""

    def open(self, size: int, note: str) -> Checkpoint:
        """The log's checkpoint of this size. Raises VerificationError unless all keys signed it that have to."""
        if not self._links:
            return open_checkpoint(note, self._trusted)
        before = self._at
        while self._at < len(self._links) and self._links[self._at].index < size:
            self._at += 1
        needed = self._keys[before : self._at + 1]
        if before > self._good:
            raise _unproven(needed[0])
        if len(needed) > 1 and len(open_note(note, needed)[1]) < len(needed):
            raise _unproven(needed[-1])
        opened = open_checkpoint(note, needed)
        self._good = max(self._good, self._at)
        return opened

    def remembered(self, note: str) -> Checkpoint:
        """A checkpoint of any size that somebody kept, if the key signed it that was in force at its size."""
        claimed = open_checkpoint(note, self._trusted if self._good < 0 else self._keys).size
        return open_checkpoint(note, self.in_force(claimed))

    def in_force(self, size: int) -> tuple[VerifierKey, ...]:
        """The key that signs the log at this size; where no rotation tells, those that are trusted."""
        if self._good < 0:
            return self._trusted
        return (self._keys[sum(link.index < size for link in self._links)],)


def _linked(rotations: Iterable[Rotation]) -> tuple[Rotation, ...]:
    """Those that follow from one another. A key that was in force once does not come back."""
    links: list[Rotation] = []
    for each in sorted(rotations, key=lambda rotation: rotation.index)[:MAX_ROTATIONS]:
        so_far = _keys(links) or (each.previous,)
        if each.previous == so_far[-1] and each.following not in so_far:
            links.append(each)
    return tuple(links)


def _keys(links: Iterable[Rotation]) -> tuple[VerifierKey, ...]:
    chain = tuple(links)
    return (*(link.previous for link in chain[:1]), *(link.following for link in chain))


def _unproven(key: VerifierKey) -> VerificationError:
    return VerificationError(
        f"no checkpoint hands the log over to key {key.key_id.hex()}",
        cause="the checkpoint that both keys signed is missing or altered, or the key you trust is of another log",
        next_step="compare the verifier key with the one you remember: watchkeeper ledger key",
    )
