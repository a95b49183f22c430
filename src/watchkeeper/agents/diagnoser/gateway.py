"""The rules for what happens around a gateway: loops, costs and outages, and which of them brings about which.

Each finding gives a cause on what can be acted on: the key for a loop or a cost, the deployment for an outage. Text
from telemetry is never read for meaning (invariant 7); names only identify.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import accumulate
from typing import NamedTuple

from watchkeeper.agents.detector.correlate import explains, way
from watchkeeper.agents.diagnoser.confidence import EXPLAINED_LEFT, GOOD_ENOUGH, known_by, strength, with_effect
from watchkeeper.agents.manifest import GATEWAY_DIAGNOSER, manifest_digest
from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.diagnosis import Cause, Diagnosis
from watchkeeper.core.digest import sha256
from watchkeeper.core.findings import Attribution, FailureMode, Finding
from watchkeeper.core.ids import DiagnosisId, FindingId, IncidentId
from watchkeeper.core.model import Contract, Instant
from watchkeeper.core.subjects import Edge, EdgeSource, Subject, SubjectKind
from watchkeeper.signals.state import SignalState

MAX_CAUSES = 8
MAX_TOLD = 8
"""Findings, and pieces of evidence, that one cause names."""
MAX_FINDINGS = 16
"""What a diagnosis is drawn from: so many findings, however large, fit the evidence store."""
MAX_DIAGNOSIS = 48_000
"""Bytes of all causes together; an entry holds 65,535."""
_ORDER = (FailureMode.RUNAWAY_LOOP, FailureMode.PROVIDER_OUTAGE, FailureMode.COST_SPIKE)
"""Of equally sure causes the one that brings about others comes first."""
_ACT_ON = {
    FailureMode.RUNAWAY_LOOP: SubjectKind.KEY,
    FailureMode.COST_SPIKE: SubjectKind.KEY,
    FailureMode.PROVIDER_OUTAGE: SubjectKind.DEPLOYMENT,
}


class Basis(Contract):
    """Everything a diagnosis was drawn from: the same basis gives the same diagnosis."""

    schema_name = "watchkeeper.dev/diagnosis-basis/v1"
    incident: IncidentId
    at: Instant
    findings: tuple[Finding, ...]
    edges: tuple[Edge, ...]


class Diagnosed(NamedTuple):
    """A diagnosis, and the bytes of the basis whose digest it carries."""

    diagnosis: Diagnosis
    snapshot: bytes


def diagnose(
    incident: IncidentId, findings: Sequence[Finding], state: SignalState, now: datetime, identity: DiagnosisId
) -> Diagnosed:
    meant = _gravest(findings)
    basis = Basis(incident=incident, at=now, findings=meant, edges=_edges(meant, state))
    body = canonical_model(basis)
    return Diagnosed(judge(basis, body, identity), body)


def judge(basis: Basis, body: bytes, identity: DiagnosisId) -> Diagnosis:
    """What the basis, which is `body` in bytes, says: the same one whenever it is asked."""
    causes = causes_of(basis)
    return Diagnosis(
        id=identity,
        incident=basis.incident,
        diagnoser=GATEWAY_DIAGNOSER,
        at=basis.at,
        causes=causes,
        novel=not causes or causes[0].confidence < GOOD_ENOUGH,
        state_digest=sha256(body),
        code_digest=manifest_digest(GATEWAY_DIAGNOSER),
    )


def _gravest(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Of more findings than can be weighed, the most severe, and of these the first."""
    ordered = sorted(findings, key=lambda each: (-each.severity.rank, each.detected, each.id))[:MAX_FINDINGS]
    return tuple(each for each in findings if each in ordered)


def _edges(findings: Sequence[Finding], state: SignalState) -> tuple[Edge, ...]:
    """What is known today of the ways from each symptom to what could be acted on."""
    found = [
        edge
        for finding in findings
        for part in finding.attribution
        for edge in state.path(finding.subject, part.subject) or ()
    ]
    return tuple(dict.fromkeys(found))


def causes_of(basis: Basis) -> tuple[Cause, ...]:
    """Ordered by confidence; pure, for replay."""
    causes: dict[tuple[FailureMode, Subject], Cause] = {}
    for finding in _latest(basis.findings):
        for cause in _causes(finding, basis.edges):
            known = causes.get((cause.mode, cause.subject))
            causes[cause.mode, cause.subject] = cause if known is None else _both(known, cause)
    weighed = _weigh(list(causes.values()), basis)
    weighed.sort(key=lambda cause: (-cause.confidence, _rank(cause.mode), str(cause.subject)))
    sizes = accumulate(len(canonical_model(cause)) for cause in weighed[:MAX_CAUSES])
    return tuple(cause for cause, size in zip(weighed, sizes, strict=False) if size <= MAX_DIAGNOSIS)


def _rank(mode: FailureMode) -> int:
    return _ORDER.index(mode) if mode in _ORDER else len(_ORDER)


def _latest(findings: Sequence[Finding]) -> list[Finding]:
    """One finding for each fingerprint and cause: what was seen last."""
    last: dict[tuple[str, tuple[Subject, ...]], Finding] = {}
    for finding in sorted(findings, key=lambda each: (each.detected, each.id)):
        last[finding.fingerprint, tuple(_parties(finding))] = finding
    return [last[key] for key in sorted(last, key=lambda key: (key[0], [str(each) for each in key[1]]))]


def _parties(finding: Finding) -> list[Subject]:
    kind = _ACT_ON.get(finding.mode)
    return sorted((part.subject for part in finding.attribution if part.subject.kind is kind), key=str)


def _causes(finding: Finding, edges: Sequence[Edge]) -> list[Cause]:
    """The parties that can be acted on; else the symptom itself."""
    kind = _ACT_ON.get(finding.mode)
    parts = [part for part in finding.attribution if part.subject.kind is kind]
    if finding.subject.kind is kind or not parts:
        own = next((part for part in finding.attribution if part.subject == finding.subject), None)
        parts = [own or Attribution(subject=finding.subject, share=1.0)]
    return [_cause(finding, part, edges) for part in parts]


def _cause(finding: Finding, part: Attribution, edges: Sequence[Edge]) -> Cause:
    path = _path(finding, part.subject, edges)
    proven = all(edge.known_from.proves for edge in path)
    confidence = known_by(strength(finding.observations), proven=proven, sampled=finding.estimated, share=part.share)
    return Cause(
        mode=finding.mode,
        subject=part.subject,
        confidence=round(confidence, 4),
        signs=tuple(dict.fromkeys(observation.sign for observation in finding.observations)),
        path=path,
        findings=(finding.id,),
        evidence=finding.evidence[:MAX_TOLD],
    )


def _path(finding: Finding, cause: Subject, edges: Sequence[Edge]) -> tuple[Edge, ...]:
    """The proven way from the symptom, or what is claimed or guessed of it. The symptom of a loop is a run: where the
    cause is all that is named of it, the way from the run must be known."""
    found = way([*edges, *finding.edges], finding.subject, cause)
    if found == ():
        return tuple(edge for edge in finding.edges if edge.source.kind is SubjectKind.RUN and edge.target == cause)[:1]
    if found is not None:
        return found
    claimed = (edge for edge in (*edges, *finding.edges) if (edge.source, edge.target) == (finding.subject, cause))
    return (next(claimed, _guess(finding.subject, cause)),)


def _guess(symptom: Subject, cause: Subject) -> Edge:
    """Says that nothing proves the way: policy then lets nobody act on it alone."""
    return Edge(source=symptom, target=cause, known_from=EdgeSource.INFERRED)


def _both(a: Cause, b: Cause) -> Cause:
    """Two findings of one cause: as sure as the surer of them."""
    surer, other = (a, b) if a.confidence >= b.confidence else (b, a)
    return _with(surer, other).model_copy(update={"signs": tuple(dict.fromkeys([*surer.signs, *other.signs]))})


def _with(cause: Cause, other: Cause) -> Cause:
    """The cause, resting on the other's findings too."""
    return cause.model_copy(
        update={
            "findings": tuple(dict.fromkeys([*cause.findings, *other.findings]))[:MAX_TOLD],
            "evidence": tuple(dict.fromkeys([*cause.evidence, *other.evidence]))[:MAX_TOLD],
        }
    )


def _weigh(causes: list[Cause], basis: Basis) -> list[Cause]:
    """A cause that explains another finding gains by it; what is explained falls behind."""
    findings = {finding.id: finding for finding in basis.findings}
    weighed = []
    for cause in causes:
        effects = [other for other in causes if other is not cause and _explains(cause, other, findings, basis)]
        explained = any(other is not cause and _explains(other, cause, findings, basis) for other in causes)
        grown = cause
        for effect in effects:
            sure = round(with_effect(grown.confidence, effect.confidence), 4)
            grown = _with(grown, effect).model_copy(update={"confidence": sure})
        if explained:
            grown = grown.model_copy(update={"confidence": round(grown.confidence * EXPLAINED_LEFT, 4)})
        weighed.append(grown)
    return weighed


def _explains(cause: Cause, effect: Cause, findings: dict[FindingId, Finding], basis: Basis) -> bool:
    return any(
        explains(findings[a], findings[b], basis.edges)
        for a in cause.findings
        for b in effect.findings
        if findings[a].mode is cause.mode and findings[b].mode is effect.mode
    )
