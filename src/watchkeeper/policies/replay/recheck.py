"""`python -m watchkeeper.policies.replay.recheck EXPORT START END [alone]`: a fresh process that makes decisions again.

It knows the files of an export and the policy engine, and nothing else: no daemon, no database, no memory of what was
decided. Every decision is weighed anew from its recorded input; its canonical bytes are held against the recorded ones.
Where they are the same there is nothing more to say; where not, or where an entry is not written as we write it, the
contracts of `ledger.replay` judge, field by field. It does not verify the export: `ledger verify --export` does.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from watchkeeper.core.decisions import DecisionInput
from watchkeeper.core.entries import MAX_ENTRY_BYTES, EntryType, Envelope
from watchkeeper.core.errors import NotFoundError, WatchkeeperError
from watchkeeper.core.model import Contract
from watchkeeper.ledger.exports.jsonlines import Part, lines
from watchkeeper.ledger.exports.layout import ENTRIES
from watchkeeper.ledger.replays.replay import Recomputers, Replay, ReplayReport
from watchkeeper.policies.decide import weigh
from watchkeeper.policies.replay.decisions import decision_recomputer
from watchkeeper.policies.replay.kept import KeptPolicies, read_policies
from watchkeeper.policies.replay.written import decision_bytes, recorded_digest

TELL_EVERY = 500
"""Entries between two words about how far it is."""

_KIND = EntryType.DECISION.encode()
_NEED_EVIDENCE = tuple(f'"type":"{kind}"'.encode() for kind in (EntryType.FINDING, EntryType.DIAGNOSIS))
_BEGINS, _BETWEEN, _ENDS = b'{"data":{"decision":{', b',"input":{', b'},"datacontenttype":'
_VERSION = b'"policy_version":"'
_TEXT = rb'"[^"\\]+"'
_REST = re.compile(
    rb'"datacontenttype":"application/json","id":%b,"source":%b,"specversion":"1\.0",(?:"subject":%b,)?"time":%b,'
    rb'"type":"%b","wkprev":"[0-9a-f]{64}","wkseq":[1-9][0-9]*}' % (_TEXT, _TEXT, _TEXT, _TEXT, re.escape(_KIND))
)
"""The envelope around a decision, without its data. One that looks otherwise is read by its contract."""


class Told(Contract):
    """What went wrong, as `WatchkeeperError` has it."""

    code: str
    exit_code: int
    what: str
    cause: str = ""
    next: str = ""
    place: str = ""


class Said(Contract):
    """One line of the process's standard output: how many bytes are done, and at the end the report or the error."""

    done: int = 0
    report: ReplayReport | None = None
    error: Told | None = None


class Written(NamedTuple):
    """An entry's bytes taken apart: the decision, the id beside it, the input, and the rest of the envelope."""

    decision: bytes
    name: bytes
    given: bytes
    envelope: bytes


class Recheck:
    """`alone`: nobody else looks at what needs evidence, which is not here, and so counts as pruned."""

    def __init__(self, kept: KeptPolicies, *, alone: bool = False) -> None:
        self._kept, self._alone = kept, alone
        recomputers = Recomputers()
        recomputers.register(EntryType.DECISION, decision_recomputer(kept.load))
        self._replay = Replay(recomputers)

    def add(self, line: bytes) -> None:
        if line.startswith(_BEGINS) and self._same(line):
            self._replay.skip(matched=True)
        elif _KIND in line:
            self._judge(line)
        else:
            gone = not line or (self._alone and any(kind in line for kind in _NEED_EVIDENCE))
            self._replay.skip(reason="pruned" if gone else "")

    def report(self) -> ReplayReport:
        return self._replay.report()

    def _same(self, line: bytes) -> bool:
        """Whether the decision comes out in the very bytes that were recorded."""
        written = taken_apart(line)
        if written is None:
            return False
        try:
            given = DecisionInput.model_validate_json(written.given)
            policy = self._kept.load(_version(written.decision))
        except (ValidationError, NotFoundError):
            return False
        again = decision_bytes(weigh(policy, given), policy.version, recorded_digest(written.given))
        return again == written.decision

    def _judge(self, line: bytes) -> None:
        try:
            envelope = Envelope.model_validate_json(line)
        except ValidationError:
            self._replay.skip(reason="unreadable")
        else:
            self._replay.add_envelope(envelope)


def taken_apart(line: bytes) -> Written | None:
    """None for what is not a decision as we write one, though it begins like one. Keys are in order of name, so `data`
    comes first, and in it the decision, its id and the input; no text can hold what is looked for here, since a quote
    in a text has a backslash before it."""
    between, end = line.rfind(_BETWEEN), line.rfind(_ENDS)
    name = line.rfind(b',"id":"', 0, between)
    if not 0 < name < between < end:
        return None
    written = Written(
        decision=line[len(_BEGINS) - 1 : name],
        name=line[name:between],
        given=line[between + len(_BETWEEN) - 1 : end],
        envelope=line[end + 2 :],
    )
    plain = written.name.count(b'"') == 4 and written.name.endswith(b'"') and b"\\" not in written.name
    return written if plain and _REST.fullmatch(written.envelope) else None


def _version(decision: bytes) -> str:
    start = decision.find(_VERSION) + len(_VERSION)
    return decision[start : decision.find(b'"', start)].decode(errors="replace")


def check(entries: Iterable[bytes], kept: KeptPolicies, *, alone: bool = False) -> ReplayReport:
    """Over the lines of an export's entries."""
    recheck = Recheck(kept, alone=alone)
    for line in entries:
        recheck.add(line)
    return recheck.report()


def main(directory: Path, part: Part, *, alone: bool) -> int:
    try:
        recheck, done = Recheck(read_policies(directory), alone=alone), 0
        for number, line in enumerate(lines(directory / ENTRIES, MAX_ENTRY_BYTES, part), start=1):
            recheck.add(line)
            done += len(line) + 1
            if number % TELL_EVERY == 0:
                _say(Said(done=done))
        _say(Said(done=done, report=recheck.report()))
    except WatchkeeperError as error:
        told = Told(
            code=error.code,
            exit_code=error.exit_code,
            what=error.what,
            cause=error.cause,
            next=error.next_step,
            place=error.place,
        )
        _say(Said(error=told))
        return error.exit_code
    return 0


def _say(said: Said) -> None:
    print(said.model_dump_json(exclude_defaults=True), flush=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Part(int(sys.argv[2]), int(sys.argv[3])), alone="alone" in sys.argv[4:]))
