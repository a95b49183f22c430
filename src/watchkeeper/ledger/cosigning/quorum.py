"""C2SP tlog-policies: which logs and witnesses are believed, and how many of them make a checkpoint valid.

Reading is strict, each fault is told with file:line, and everything is bounded. The policy says nothing of how old a
checkpoint may be, and believes the keys that are written in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from watchkeeper.core.errors import InputError, VerificationError, suggest
from watchkeeper.ledger.cosigning.cosignature import CosignerKey
from watchkeeper.ledger.signing.checkpoint import Checkpoint
from watchkeeper.ledger.signing.note import NoteKey, VerifierKey, open_note

MAX_BYTES = 1_048_576
MAX_EACH = 256
"""The most logs, witnesses and groups; the specification asks for at least 32 of each."""
NONE = "none"
_KEYWORDS = ("log", "witness", "group", "quorum")
_SHOWN = 8
Key = TypeVar("Key", VerifierKey, CosignerKey)


@dataclass(frozen=True)
class Log:
    key: VerifierKey
    url: str = ""


@dataclass(frozen=True)
class Witness:
    """`name` is the policy's own word for it; the key has a name that signatures carry."""

    name: str
    key: CosignerKey
    url: str = ""


@dataclass(frozen=True)
class Group:
    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True)
class Policy:
    """`quorum` names a witness or a group; empty: no cosignature is asked for. Groups stand after their members."""

    logs: tuple[Log, ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    quorum: str

    @classmethod
    def from_bytes(cls, data: bytes, place: str) -> Policy:
        """Octets that are not UTF-8 are kept as they are: to a policy they are opaque."""
        return cls.from_text(data.decode(errors="surrogateescape"), place)

    @classmethod
    def from_text(cls, text: str, place: str) -> Policy:
        """Raises InputError with `place` as PLACE:LINE."""
        return _Reader(place).read(text)

    def holds(self, cosigners: Collection[str]) -> bool:
        """Whether these witnesses, by their names here, are a quorum."""
        if not self.quorum:
            return True
        witnessed = {witness.name for witness in self.witnesses if witness.name in cosigners}
        for group in self.groups:
            if sum(member in witnessed for member in group.members) >= group.threshold:
                witnessed.add(group.name)
        return self.quorum in witnessed

    def open(self, note: str, known: Iterable[VerifierKey] = ()) -> Checkpoint:
        """The checkpoint, if one of the policy's logs signed it and a quorum cosigned it. Where the policy names no
        log, `known` are the logs. Raises VerificationError that names the witnesses which are missing."""
        logs = tuple(log.key for log in self.logs) or tuple(known)
        keys: tuple[NoteKey, ...] = (*logs, *(witness.key for witness in self.witnesses))
        read, signed = open_note(note, keys)
        checkpoint = Checkpoint.from_text(read.text)
        if not any(key in signed and key.name == checkpoint.origin for key in logs):
            raise VerificationError(
                f"no log of the policy signed this checkpoint of {checkpoint.origin}",
                cause="it is of another log, or the log's key was changed",
                next_step="compare the policy's log lines with: watchkeeper ledger key",
            )
        cosigners = [witness.name for witness in self.witnesses if witness.key in signed]
        if not self.holds(cosigners):
            missing = [witness.name for witness in self.witnesses if witness.name not in cosigners]
            raise VerificationError(
                f"the quorum {_shown(self.quorum)} is not met: cosigned by {_listed(cosigners)}; "
                f"missing: {_listed(missing)}",
                cause="witnesses have not answered yet, or the checkpoint was never shown to them",
                next_step="watchkeeper ledger witness status",
            )
        return checkpoint


def read_policy(path: Path) -> Policy:
    """The policy of a file. Raises InputError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"cannot read the policy: {error.strerror}",
            place=str(path),
            cause="the path is wrong, or not readable by this user",
            next_step="see docs/witnesses.md, The policy: it is a text file",
        ) from error
    return Policy.from_bytes(data, str(path))


@dataclass
class _Reader:
    """Reads line by line; what a line refers to stands above it, so there are no circles."""

    place: str
    line: int = 0
    logs: list[Log] = field(default_factory=list)
    witnesses: list[Witness] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    quorum: str | None = None
    members: dict[str, str] = field(default_factory=dict)
    """Which group a name is a member of."""

    def read(self, text: str) -> Policy:
        self.line = text.count("\n")
        if len(text) > MAX_BYTES:
            raise self.fault("the policy is too long", f"keep it under {MAX_BYTES} bytes")
        if text and not text.endswith("\n"):
            self.line += 1
            raise self.fault("the last line does not end in a newline", "the file may be cut: look at its end")
        for self.line, line in enumerate(text.split("\n")[:-1], start=1):
            self.one_line(line)
        if self.quorum is None:
            raise self.fault("there is no quorum line", "end the policy with: quorum NAME, or: quorum none")
        quorum = "" if self.quorum == NONE else self.quorum
        return Policy(tuple(self.logs), tuple(self.witnesses), tuple(self.groups), quorum)

    def one_line(self, line: str) -> None:
        if any((ord(char) < 0x20 and char != "\t") or ord(char) == 0x7F for char in line):
            raise self.fault("a control character", "end lines with a newline alone, without a carriage return")
        words = [word for word in re.split(r"[ \t]+", line) if word]
        if not words or words[0].startswith("#"):
            return
        match words[0]:
            case "log":
                self.log(words[1:])
            case "witness":
                self.witness(words[1:])
            case "group":
                self.group(words[1:])
            case "quorum":
                self.set_quorum(words[1:])
            case other:
                raise self.fault(
                    f"unknown word {_shown(other)}{suggest(other, _KEYWORDS)}",
                    "a line begins with log, witness, group or quorum",
                )

    def log(self, words: list[str]) -> None:
        if len(words) not in (1, 2):
            raise self.fault("a log line of another form", "write: log VKEY [URL]")
        key = self.key(words[0], VerifierKey.from_vkey)
        if any(log.key.public == key.public for log in self.logs):
            raise self.fault("a log's public key is given twice", "keep one of the two lines")
        self.bounded(len(self.logs), "logs")
        self.logs.append(Log(key, *words[1:]))

    def witness(self, words: list[str]) -> None:
        if len(words) not in (2, 3):
            raise self.fault("a witness line of another form", "write: witness NAME VKEY [URL]")
        name = self.new_name(words[0])
        key = self.key(words[1], CosignerKey.from_vkey)
        twin = next((each.name for each in self.witnesses if each.key.public == key.public), None)
        if twin is not None:
            raise self.fault(f"{_shown(name)} has the public key of {_shown(twin)}", "keep one of the two lines")
        self.bounded(len(self.witnesses), "witnesses")
        self.witnesses.append(Witness(name, key, *words[2:]))

    def group(self, words: list[str]) -> None:
        if len(words) < 3:
            raise self.fault("a group line of another form", "write: group NAME all|any|NUMBER MEMBER...")
        name, members = self.new_name(words[0]), words[2:]
        for member in members:
            self.known(member)
            if member in self.members:
                where = _shown(self.members[member])
                raise self.fault(f"{_shown(member)} is already a member of {where}", "a name counts in one way only")
            self.members[member] = name
        self.bounded(len(self.groups), "groups")
        self.groups.append(Group(name, self.threshold(words[1], len(members)), tuple(members)))

    def set_quorum(self, words: list[str]) -> None:
        if len(words) != 1:
            raise self.fault("a quorum line of another form", "write: quorum NAME, or: quorum none")
        if self.quorum is not None:
            raise self.fault("a second quorum line", "keep one of them")
        if words[0] != NONE:
            self.known(words[0])
        self.quorum = words[0]

    def threshold(self, word: str, count: int) -> int:
        if word in ("all", "any"):
            return count if word == "all" else 1
        if not re.fullmatch(r"[1-9][0-9]{0,3}", word) or int(word) > count:
            raise self.fault(f"the threshold {_shown(word)} of {count} members", f"write all, any, or 1 to {count}")
        return int(word)

    def names(self) -> list[str]:
        return [*(each.name for each in self.witnesses), *(each.name for each in self.groups)]

    def new_name(self, name: str) -> str:
        if name == NONE or name in self.names():
            raise self.fault(f"the name {_shown(name)} is taken", "give each witness and group a name of its own")
        return name

    def known(self, name: str) -> None:
        if name not in self.names():
            hint = suggest(name, self.names())
            raise self.fault(f"{_shown(name)} is not defined above this line{_shown(hint)}", "define it first")

    def bounded(self, count: int, what: str) -> None:
        if count >= MAX_EACH:
            raise self.fault(f"more than {MAX_EACH} {what}", "split the policy")

    def key(self, vkey: str, read: Callable[[str], Key]) -> Key:
        try:
            return read(vkey)
        except InputError as error:
            raise self.fault(f"{error.what}: {error.cause}", "copy the whole vkey from its owner") from error

    def fault(self, what: str, next_step: str) -> InputError:
        return InputError(what, place=f"{self.place}:{max(self.line, 1)}", cause="", next_step=next_step)


def _shown(name: str) -> str:
    """Safe to print, whatever octets it is of."""
    return name[:80].encode(errors="surrogateescape").decode(errors="backslashreplace")


def _listed(names: Iterable[str]) -> str:
    found = [_shown(name) for name in names]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more if found else "none"
