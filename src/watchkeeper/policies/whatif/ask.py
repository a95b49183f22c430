"""Asks a candidate policy about an exported log. Reads the export's files; no daemon and no database takes part.

It does not verify the export. What cannot be read is counted and weighs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from watchkeeper.core.decisions import DecisionRecord
from watchkeeper.core.entries import MAX_ENTRY_BYTES, Envelope
from watchkeeper.core.errors import InputError
from watchkeeper.ledger.exports.jsonlines import last_line, lines
from watchkeeper.ledger.exports.layout import ENTRIES
from watchkeeper.policies.compile import Policy
from watchkeeper.policies.whatif.compare import tally
from watchkeeper.policies.whatif.fold import KINDS, Fold
from watchkeeper.policies.whatif.report import WhatIf

_KINDS = tuple(kind.encode() for kind in KINDS)
TELL_EVERY = 500
"""Entries between two words about how far it is."""


class Question(NamedTuple):
    """Which decisions are told of. `since`: an instant, or so long before the log's newest entry. `services` are
    `service` or `environment/service`; empty: all."""

    since: datetime | timedelta | None = None
    until: datetime | None = None
    services: tuple[str, ...] = ()

    def wants(self, record: DecisionRecord) -> bool:
        scope = record.input.scope
        return not self.services or scope.service in self.services or str(scope) in self.services


def what_if(directory: Path, policy: Policy, question: Question, tell: Callable[[int], None]) -> WhatIf:
    """`tell` hears how many bytes of the entries are done. The same export gives the same answer at any time."""
    path = directory / ENTRIES
    newest = last_line(path, MAX_ENTRY_BYTES)
    if newest is None:
        raise InputError("the export has no entry", place=str(path), next_step="watchkeeper ledger export")
    since = _instant(question.since, newest, str(path))
    fold: Fold | None = None
    begins: datetime | None = None
    unreadable = done = 0
    for number, line in enumerate(lines(path, MAX_ENTRY_BYTES)):
        done += len(line) + 1
        if number % TELL_EVERY == 0:
            tell(done)
        if fold is not None and not any(kind in line for kind in _KINDS):
            continue
        envelope = _read(line)
        if envelope is None:
            unreadable += bool(line)
            continue
        if fold is None:
            begins = envelope.time
            fold = Fold(policy, since, question.until, begins, whole=number == 0)
        unreadable += not _add(fold, envelope)
    if fold is None:
        raise InputError("no entry of the export can be read", place=str(path), next_step="watchkeeper ledger verify")
    counted = tally(fold.weighed, fold.aftermath, question.wants)
    return counted.report(policy, begins, since, question.until, unreadable)


def _add(fold: Fold, envelope: Envelope) -> bool:
    if envelope.type not in KINDS:
        return True
    try:
        fold.add(envelope.typed())
    except ValidationError:
        return False
    return True


def _read(line: bytes) -> Envelope | None:
    try:
        return Envelope.model_validate_json(line)
    except ValidationError:
        return None


def _instant(since: datetime | timedelta | None, newest: bytes, place: str) -> datetime | None:
    if not isinstance(since, timedelta):
        return since
    last = _read(newest)
    if last is None:
        raise InputError("the newest entry cannot be read", place=place, next_step="watchkeeper ledger verify")
    return last.time - since
