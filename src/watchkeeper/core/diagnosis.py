"""Why: causes in order of confidence, each with its evidence and the proven way from symptom to cause."""

from __future__ import annotations

from pydantic import Field

from watchkeeper.core.evidence import EvidenceRef
from watchkeeper.core.findings import FailureMode, Sign
from watchkeeper.core.ids import DiagnosisId, FindingId, IncidentId
from watchkeeper.core.model import Contract, Instant
from watchkeeper.core.subjects import Edge, Subject


class Cause(Contract):
    """`subject` is what to act on. `path` leads from the symptom to it; empty: they are one."""

    mode: FailureMode
    subject: Subject
    confidence: float = Field(ge=0, le=1)
    signs: tuple[Sign, ...]
    path: tuple[Edge, ...] = ()
    findings: tuple[FindingId, ...]
    evidence: tuple[EvidenceRef, ...] = ()

    @property
    def edge_proven(self) -> bool:
        return all(edge.known_from.proves for edge in self.path)


class Diagnosis(Contract):
    schema_name = "watchkeeper.dev/diagnosis/v1"
    id: DiagnosisId
    incident: IncidentId
    diagnoser: str
    at: Instant
    causes: tuple[Cause, ...]
    novel: bool
    state_digest: str
    """Digest of the basis that it was drawn from."""
    code_digest: str
    evidence: tuple[EvidenceRef, ...] = ()
    """The basis, in what is recorded; the ledger knows it by this."""
