"""Findings and diagnoses made again from the basis that was recorded with them, by the code that made them.

The basis must still be there, be what the entry says it was, and hold all that was read; the code must be the same.
Otherwise there is nothing to compare, and the reason is told: `pruned`, `code`, `redacted` (the evidence store took
something out of the basis), `too_large` (there was no room for all of it), `not_kept` (the entry names none). Plans are
not made again: a plan is a gateway's answer to a dry run, and the gateway has moved on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pydantic import ValidationError

from watchkeeper.agents.detector import basis as detector
from watchkeeper.agents.detector.drafting import drawn_from
from watchkeeper.agents.detector.evaluate import judge_again
from watchkeeper.agents.detector.facts import NotNotedError
from watchkeeper.agents.diagnoser import gateway
from watchkeeper.agents.manifest import manifest_digest
from watchkeeper.core.diagnosis import Diagnosis
from watchkeeper.core.digest import sha256
from watchkeeper.core.entries import EntryType, FindingRecorded
from watchkeeper.core.errors import NotFoundError
from watchkeeper.core.evidence import EvidenceKind, EvidenceRef
from watchkeeper.core.model import Contract
from watchkeeper.ledger.replays.recomputers import FromEvidence, NotRecomputableError, OtherwiseError, Recomputers

CODE, REDACTED, TOO_LARGE, NOT_KEPT, UNREADABLE = "code", "redacted", "too_large", "not_kept", "unreadable"
_MARK = b"[redacted:"

ABasis = TypeVar("ABasis", bound=Contract)


FROM_EVIDENCE = (EntryType.FINDING, EntryType.DIAGNOSIS)


def register(recomputers: Recomputers) -> None:
    recomputers.register(EntryType.FINDING, FINDING)
    recomputers.register(EntryType.DIAGNOSIS, DIAGNOSIS)


def _basis_of_finding(recorded: Contract) -> str:
    return _named(_as(FindingRecorded, recorded).finding.evidence)


def _basis_of_diagnosis(recorded: Contract) -> str:
    return _named(_as(Diagnosis, recorded).evidence)


def _named(evidence: Sequence[EvidenceRef]) -> str:
    for ref in evidence:
        if ref.kind is EvidenceKind.SNAPSHOT:
            return ref.commitment
    raise NotRecomputableError(NOT_KEPT)


def _finding(recorded: Contract, body: bytes) -> Contract:
    data = _as(FindingRecorded, recorded)
    told = data.finding
    _same_code(told.detector, told.code_digest)
    _same_body(body, told.state_digest, "finding.state_digest")
    basis = _read(detector.Basis, body)
    if not basis.whole or basis.facts is None:
        raise NotRecomputableError(TOO_LARGE)
    try:
        again = judge_again(basis, basis.facts)
    except NotNotedError:
        raise OtherwiseError("finding", told.id, "asks for what was not read") from None
    except ValueError as error:  # what it found is no finding at all
        raise OtherwiseError("finding", told.id, type(error).__name__) from error
    if again is None:
        raise OtherwiseError("finding", told.id, "nothing is found")
    made = drawn_from(again, body).model_copy(update={"evidence": told.evidence})
    return data.model_copy(update={"finding": made})


def _diagnosis(recorded: Contract, body: bytes) -> Contract:
    told = _as(Diagnosis, recorded)
    _same_code(told.diagnoser, told.code_digest)
    _same_body(body, told.state_digest, "state_digest")
    again = gateway.judge(_read(gateway.Basis, body), body, told.id)
    return again.model_copy(update={"evidence": told.evidence})


def _same_code(specialist: str, recorded: str) -> None:
    try:
        running = manifest_digest(specialist)
    except NotFoundError:  # this version has no such specialist
        raise NotRecomputableError(CODE) from None
    if running != recorded:
        raise NotRecomputableError(CODE)


def _same_body(body: bytes, recorded: str, path: str) -> None:
    digest = sha256(body)
    if digest == recorded:
        return
    if _MARK in body:
        raise NotRecomputableError(REDACTED)
    raise OtherwiseError(path, recorded, digest)


def _read(model: type[ABasis], body: bytes) -> ABasis:
    try:
        return model.model_validate_json(body)
    except ValidationError:
        raise NotRecomputableError(UNREADABLE) from None


def _as(model: type[ABasis], recorded: Contract) -> ABasis:
    if not isinstance(recorded, model):
        raise TypeError(f"recorded as {model.__name__}, not {type(recorded).__name__}")
    return recorded


FINDING = FromEvidence(_basis_of_finding, _finding)
DIAGNOSIS = FromEvidence(_basis_of_diagnosis, _diagnosis)
