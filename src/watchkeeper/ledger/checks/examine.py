"""What raw entries say of themselves, pure: canonical form, contract of the data, copies beside them, writers' chains.

A stretch of entries is examined on its own, in any process, and tells its writers' chains by their ends; `Chains` joins
the ends in the order of the log. It does not look at the tree: that is audit's business.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError

from watchkeeper.core.canonical import canonical
from watchkeeper.core.entries import ENTRY_DATA, GENESIS_PREV, EntryType, Envelope
from watchkeeper.core.spelling import is_canonical
from watchkeeper.ledger.checks.audit import Code
from watchkeeper.ledger.snapshot import Copies

_REFERENCE = re.compile(
    rb'"commitment":"(hmac-sha256:[0-9a-f]{64})","kind":"([a-z_]+)","media_type":"((?:[^"\\]|\\.)*)","size":(\d+)'
)
"""An EvidenceRef in canonical form."""
_ONLY_TEXT = {str}

Raw = tuple[int, bytes, Copies | None]
"""An entry's number, its bytes, and the copies to search by (an export has none)."""


class Link(NamedTuple):
    seq: int
    prev: str


class Stretch(NamedTuple):
    """A writer's entries within a stretch: where its first stands and what that follows, and where its last ends."""

    where: str
    first: Link
    last: Link
    """`prev` is the hash that the next entry must name."""


class _Followed:
    """A writer's stretch while it is read."""

    def __init__(self, where: str, first: Link) -> None:
        self.where, self.first, self.last = where, first, first


class Named(NamedTuple):
    """A reference to evidence: commitment and whole as `naming` gives them, in an entry of this time."""

    key: int
    whole: int
    kind: str
    time: str


class Gone(NamedTuple):
    """Bodies that an entry says were destroyed: of a kind, this many, older than `before`; or by name."""

    kind: str
    number: int
    before: str
    keys: tuple[int, ...] = ()


class Findings(NamedTuple):
    problems: list[tuple[str, Code]]
    stretches: dict[str, Stretch]
    named: list[Named]
    gone: list[Gone]
    pruned: int
    """The greatest index that an entry of this stretch says was pruned up to."""


def examine(entries: Sequence[Raw], place: str = "entry") -> Findings:
    """`place` is what the numbers count: `entry` or `staged`."""
    found, followed = Findings([], {}, [], [], 0), dict[str, _Followed]()
    pruned = 0
    for number, body, copies in entries:
        try:
            said = _read(body)
            own, prev = _says(said)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            found.problems.append((f"{place} {number}", Code.UNREADABLE_ENTRY))
            continue
        _, writer, seq, kind, _, time = own
        wrong = _form(said, body)
        if wrong is not None:
            found.problems.append((f"{place} {number}", wrong))
        if copies is not None and copies != own:
            found.problems.append((f"{place} {number}", Code.COPIES_DIFFER))
        if writer not in followed:
            followed[writer] = _Followed(f"{place} {number}", Link(seq, prev))
        elif (unlinked := broken(followed[writer].last, Link(seq, prev))) is not None:
            found.problems.append((f"{place} {number}", unlinked))
        followed[writer].last = Link(seq, hashlib.sha256(body).hexdigest())
        if b'"hmac-sha256:' in body:
            found.named.extend(_named(body, time))
            found.gone.extend(_erased(kind, body))
        if wrong is None and kind == EntryType.EVIDENCE_PRUNED:
            found.gone.append(Gone(said["data"]["kind"], said["data"]["count"], said["data"]["before"]))
        if wrong is None and kind == EntryType.ENTRIES_PRUNED:
            pruned = max(pruned, said["data"]["end"])
    ends = {writer: Stretch(each.where, each.first, each.last) for writer, each in followed.items()}
    return found._replace(stretches=ends, pruned=pruned)


def _read(body: bytes) -> dict[str, Any]:
    """By the quicker reader, unless it refuses: what is wrong is then the other one's word."""
    try:
        said: dict[str, Any] = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = json.loads(body)
    return said


def _named(body: bytes, time: str) -> Iterator[Named]:
    for each in _REFERENCE.findall(body):
        commitment, kind, media_type, size = (part.decode() for part in each)
        yield Named(*naming(commitment, kind, media_type, size), kind, time)


def _erased(entry_type: str, body: bytes) -> Iterator[Gone]:
    """What a person had destroyed. The comment that tells why is named in the same entry, and is not gone."""
    if entry_type == EntryType.EVIDENCE_ERASED:
        for ref in _read(body)["data"]["erased"]:
            yield Gone(ref["kind"], 1, "", (key_of(ref["commitment"]),))


def key_of(commitment: str) -> int:
    return int(commitment.removeprefix("hmac-sha256:")[:16], 16)


def naming(commitment: str, kind: str, media_type: str, size: str) -> tuple[int, int]:
    """A commitment, and the whole of what a reference says, each as a number of 64 bits: a log may name millions."""
    whole = hashlib.sha256(f"{commitment} {kind} {media_type} {size}".encode()).digest()
    return key_of(commitment), int.from_bytes(whole[:8], "big")


def _says(said: Mapping[str, Any]) -> tuple[Copies, str]:
    """What the copies must be, and the hash of the entry before. Raises an error of Python's for what has not the shape
    of an entry."""
    entry_id, source, seq, prev = said["id"], said["source"], said["wkseq"], said["wkprev"]
    kind, time, subject = said["type"], said["time"], said.get("subject", "")
    if type(seq) is not int or {*map(type, (entry_id, source, prev, kind, time, subject))} != _ONLY_TEXT:
        raise TypeError
    return (entry_id, source.rpartition("/")[2], seq, kind, subject, time), prev


def _form(said: dict[str, Any], body: bytes) -> Code | None:
    """An envelope, in canonical bytes, whose data fits the contract of its kind where that is known here."""
    try:
        if not is_canonical(body, said) and canonical(said) != body:
            return Code.NOT_CANONICAL
        envelope = Envelope.model_validate(said)
    except (ValidationError, RecursionError):
        return Code.UNREADABLE_ENTRY
    except ValueError:
        return Code.NOT_CANONICAL
    contract = ENTRY_DATA.get(envelope.type)  # type: ignore[call-overload]  # a kind is text; an unknown one is no kind
    try:
        if contract is not None:
            contract.model_validate(envelope.data)
    except (ValidationError, TypeError):
        return Code.BAD_DATA
    return None


def broken(last: Link, link: Link) -> Code | None:
    """What is wrong with an entry that comes after `last`."""
    if link.seq != last.seq + 1:
        return Code.WRITER_GAP
    return None if link.prev == last.prev else Code.WRITER_LINK


class Chains:
    """The writers' chains over the whole log. Behind a range that was pruned a chain may begin anywhere later."""

    def __init__(self) -> None:
        self._ends: dict[str, tuple[Link, int]] = {}
        self._holes = 0
        self.skipped = 0
        """Entries that the chains miss where some were pruned: as many as were."""

    def hole(self) -> None:
        """Here entries are pruned: whose they were is not known any more."""
        self._holes += 1

    def join(self, stretches: Mapping[str, Stretch]) -> list[tuple[str, Code]]:
        problems: list[tuple[str, Code]] = []
        for writer, stretch in stretches.items():
            last, holes = self._ends.get(writer, (Link(0, GENESIS_PREV), 0))
            wrong = broken(last, stretch.first)
            skipped = holes < self._holes and stretch.first.seq > last.seq + 1
            if skipped:
                self.skipped += stretch.first.seq - last.seq - 1
            elif wrong is not None:
                problems.append((stretch.where, wrong))
            self._ends[writer] = (stretch.last, self._holes)
        return problems

    def differing(self, stored: Mapping[str, tuple[int, bytes]]) -> list[str]:
        """Writers whose row is not where their chain ends: entries were taken off it, or the row was changed."""
        found = []
        for writer in sorted(stored.keys() | self._ends.keys()):
            seq, digest = stored.get(writer, (0, bytes.fromhex(GENESIS_PREV)))
            last, holes = self._ends.get(writer, (Link(0, GENESIS_PREV), 0))
            skipped = holes < self._holes and seq > last.seq
            if skipped:
                self.skipped += seq - last.seq
            elif (seq, digest.hex()) != last:
                found.append(writer)
        return found
