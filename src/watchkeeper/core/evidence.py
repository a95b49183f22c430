"""References to evidence. A ledger entry holds only these; bodies live in the evidence store and may be erased."""

from __future__ import annotations

from enum import StrEnum

from watchkeeper.core.model import Contract


class EvidenceKind(StrEnum):
    SERIES = "series"
    SPANS = "spans"
    CALLS = "calls"
    ALERT = "alert"
    CHANGE = "change"
    SNAPSHOT = "snapshot"
    REQUEST = "request"
    REPLY = "reply"
    PROMPT = "prompt"
    INVENTORY = "inventory"
    COMMENT = "comment"


class EvidenceRef(Contract):
    """`commitment` is `core.digest.commitment(salt, body)`; `size` is the body's bytes before compression."""

    schema_name = "watchkeeper.dev/evidence-ref/v1"
    kind: EvidenceKind
    commitment: str
    size: int
    media_type: str = "application/json"
