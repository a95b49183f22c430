"""Entries hold no free text: every text in every kind of entry is enumerated, opaque, a digest, an instant, or a name
that is listed here with where it comes from. A new field that is none of these fails here: put it into evidence."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from watchkeeper.core.entries import ENTRY_DATA, EntryType

DIGESTS = "a digest, a commitment or a hash of ours"
IDS = "an opaque id that we made"
CODES = "a code that our own modules enumerate, never text from outside"
SETTINGS = "a name from the settings, policies, runbooks or adapters of this installation"
TELEMETRY = (
    "an identifier of a system, from telemetry; personal and secret ones are replaced by handles on their way in"
)
TARGETS = "an identifier, or a setting, of a gateway's object that an adapter names; numbers and switches, no content"

ALLOWED: dict[str, dict[str, str]] = {
    DIGESTS: dict.fromkeys(
        (
            *("DaemonStarted.settings_digest", "DaemonStarted.policy_version", "IncidentOpened.fingerprint"),
            *("Finding.state_digest", "Finding.code_digest", "Diagnosis.state_digest", "Diagnosis.code_digest"),
            *("RunbookRef.digest", "Plan.manifest_digest", "EvidenceRef.commitment", "EvidencePruned.digest"),
            *("DecisionInput.plan_hash", "DecisionInput.manifest_digest", "Decision.policy_version"),
            *("Decision.input_digest", "ApprovalRequested.plan_hash", "ApprovalAnswered.plan_hash"),
            *("Claim.plan_hash", "Claim.policy_version", "ClaimRefused.plan_hash", "PolicyActivated.version"),
            *("PolicyActivated.previous", "Archived.root", "Archived.digest", "EntriesPruned.archive"),
            *("KeyRotated.previous", "KeyRotated.following", "TrustOutcome.manifest_digest"),
            "StandingChanged.manifest_digest",
            *("KeyRotated.previous", "KeyRotated.following", "ApprovalEscalated.plan_hash"),
            *("PlanEdited.plan_hash", "PlanEdited.becomes_hash"),
        ),
        "",
    ),
    IDS: dict.fromkeys(("CallRecorded.call", "Principal.id", "Plan.authors", "ApprovalRequested.authors"), ""),
    CODES: dict.fromkeys(
        (
            *("DaemonStarted.version", "WatchGap.reason", "Eviction.what", "Eviction.reason", "Finding.detector"),
            *("Observation.unit", "Diagnosis.diagnoser", "Plan.remediator", "DecisionInput.agent", "Remedy.holder"),
            *("ApprovalAnswered.via", "ClaimRefused.reason", "CallRecorded.operation", "EffectOutcome.code"),
            *("RemedyRecorded.reason", "Escalated.reason", "IncidentClosed.resolution", "EvidenceRef.media_type"),
            *("Principal.authenticated_by", "Claim.holder", "GateResult.observed", "GateResult.limit"),
            *("TrustOutcome.agent", "StandingChanged.agent", "NotUndone.said", "Basis.agents"),
        ),
        "",
    ),
    SETTINGS: dict.fromkeys(
        (
            *("DaemonStarted.log_origin", "Scope.environment", "Scope.service", "RunbookRef.name", "Sli.measure"),
            *("DecisionInput.runbook", "GateResult.node", "ApprovalTerms.node", "ApprovalTerms.roles"),
            *("Target.adapter", "CallRecorded.adapter", "Escalated.notified", "PolicyActivated.documents"),
            *("Archived.place", "EpochSeen.scope", "StopRecorded.scope", "TrustOutcome.runbook"),
            "StandingChanged.runbook",
            *("ZoneOffset.zone", "BudgetReading.objective"),
            *("Archived.place", "EpochSeen.scope", "StopRecorded.scope"),
            *("EscalationStep.roles", "EscalationStep.notify", "ApprovalEscalated.node"),
            *("ApprovalEscalated.roles", "ApprovalEscalated.notified"),
        ),
        "",
    ),
    TELEMETRY: {"Subject.id": ""},
    TARGETS: dict.fromkeys(
        (
            *(
                "Target.kind",
                "Target.id",
                "Target.labels",
                "FieldChange.path",
                "FieldChange.before",
                "FieldChange.after",
            ),
            "Action.parameters",
            "PlanEdit.name",
            "PlanEdit.value",
        ),
        "",
    ),
}
REASON_OF = {field: reason for reason, fields in ALLOWED.items() for field in fields}


def texts(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[str]:
    """`Model.field` for every field of plain text in a model and in all that it is made of."""
    if model in seen:
        return
    seen.add(model)
    for name, field in model.model_fields.items():
        for part in _parts(field.annotation):
            if part is str:
                yield f"{model.__name__}.{name}"
            elif isinstance(part, type) and issubclass(part, BaseModel):
                yield from texts(part, seen)
            else:
                assert _closed(part), f"{model.__name__}.{name} holds {part!r}, of which nothing is known"


def _parts(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (Union, UnionType, tuple, list, dict, Annotated):
        for argument in get_args(annotation):
            if argument is not Ellipsis and (
                get_origin(annotation) is not Annotated or argument is get_args(annotation)[0]
            ):
                yield from _parts(argument)
    else:
        yield annotation


def _closed(part: Any) -> bool:
    """A number, an instant, an enumeration, a literal, or an id with a type of its own."""
    if isinstance(part, NewType) or get_origin(part) is Literal:
        return True
    return isinstance(part, type) and (
        issubclass(part, (int, float, Enum, type(None))) or part.__name__ == "AwareDatetime"
    )


@pytest.mark.parametrize("kind", EntryType)
def test_every_text_of_an_entry_is_enumerated_opaque_or_listed(kind: EntryType) -> None:
    unknown = [field for field in texts(ENTRY_DATA[kind], set()) if field not in REASON_OF]
    assert unknown == [], "free text and personal data belong into evidence (docs/ledger.md)"


def test_nothing_is_listed_that_no_entry_holds() -> None:
    seen: set[type[BaseModel]] = set()
    held = {field for model in ENTRY_DATA.values() for field in texts(model, seen)}
    assert set(REASON_OF) - held == set()


def test_a_new_field_of_free_text_is_found() -> None:
    class Telling(BaseModel):
        words: tuple[str | None, ...]

    assert list(texts(Telling, set())) == ["Telling.words"]
