"""Erasing evidence: a person's act, looked at first."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, model_validator

from watchkeeper.api.auth import OperatorInPerson, Wired
from watchkeeper.core.errors import UnavailableError
from watchkeeper.core.evidence import EvidenceKind
from watchkeeper.core.ids import IncidentId
from watchkeeper.core.model import Contract
from watchkeeper.ledger.evidence.erase import MAX_ERASED, Erasure

router = APIRouter(tags=["ledger"])

Commitment = Annotated[str, Field(pattern=r"^(hmac-sha256:)?[0-9a-f]{12,64}$")]


class ToErase(Contract):
    """Commitments (or how they begin), or an incident and of it one `kind` or everything. `dry_run` only looks."""

    commitments: tuple[Commitment, ...] = Field(default=(), max_length=MAX_ERASED)
    incident: IncidentId | None = None
    kind: EvidenceKind | None = None
    reason: str = Field(default="", max_length=2000)
    dry_run: bool = False

    @model_validator(mode="after")
    def _whole(self) -> ToErase:
        if bool(self.commitments) == (self.incident is not None):
            raise ValueError("give either commitments or an incident")
        if self.kind is not None and self.incident is None:
            raise ValueError("a kind goes with an incident")
        if not self.dry_run and not self.reason.strip():
            raise ValueError("say why: the reason is kept")
        return self


@router.post("/v1/ledger/evidence/erase")
async def erase(given: ToErase, wired: Wired, caller: OperatorInPerson) -> Erasure:
    """Destroys bodies and salts for ever, and records it. What is gone already is listed, and is no error."""
    if given.incident is not None:
        names = await wired.eraser.of_incident(given.incident, given.kind)
    else:
        names = await wired.eraser.named(given.commitments)
    if given.dry_run:
        return await wired.eraser.look(names)
    health = wired.health()
    if not health.acting:
        raise UnavailableError(
            "nothing was erased: that it was could not be recorded",
            cause=f"the database, the ledger or the clock cannot be trusted now: {health.why}",
            next_step="watchkeeper status",
        )
    return await wired.eraser.erase(names, caller, given.reason, given.incident)
