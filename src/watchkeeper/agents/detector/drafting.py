"""From what a detector saw to a finding with its evidence: the basis that it was judged on.

The same basis gives the same finding, its id included. However long the names of what it is about, it fits a
ledger entry: what stands farthest from the subject is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from hashlib import sha256 as _sha256
from typing import NamedTuple, TypeVar

from watchkeeper.agents.detector.basis import Basis, Case, Terms, kept
from watchkeeper.agents.detector.facts import Notes
from watchkeeper.agents.manifest import manifest_digest
from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.digest import sha256
from watchkeeper.core.findings import Attribution, FailureMode, Finding, Observation, Severity, Sign
from watchkeeper.core.ids import FindingId
from watchkeeper.core.model import format_instant
from watchkeeper.core.signals import EventKind
from watchkeeper.core.subjects import Edge, Scope, Subject
from watchkeeper.signals.state import SignalState

MAX_EDGES = 64
MAX_ATTRIBUTION = 32
MAX_SUBJECTS = 16
MAX_FINDING = 48_000
"""Bytes; an entry holds 65,535, with the envelope and what is added to the finding later."""
_UNKNOWN = sha256(b"")
"""Stands where the basis' digest will be, which is not known while the finding is drawn."""

CHANGED_BEFORE = timedelta(minutes=15)
CHANGES = {
    EventKind.DEPLOY: Sign.RECENT_CHANGE,
    EventKind.PROMPT_CHANGE: Sign.RECENT_CHANGE,
    EventKind.MODEL_CHANGE: Sign.RECENT_CHANGE,
    EventKind.STATE_CHANGE: Sign.RECENT_CHANGE,
    EventKind.OWN_EFFECT: Sign.OWN_EFFECT,
}


class Detected(NamedTuple):
    """A finding, and the basis whose digest it carries, in bytes: judged again, they give the same finding."""

    finding: Finding
    snapshot: bytes


class Sighting(NamedTuple):
    """What a detector saw."""

    mode: FailureMode
    subject: Subject
    severity: Severity
    onset: datetime
    observations: tuple[Observation, ...]
    attribution: tuple[Attribution, ...]
    estimated: bool = False
    scope: Scope | None = None
    """Where the detector knows better than the links."""
    ways: tuple[Edge, ...] = ()
    """What the detector knows of how the trouble comes to its causes, beside the links."""


ATerms = TypeVar("ATerms", bound=Terms)
ACase = TypeVar("ACase", bound=Case)
Judge = Callable[[Notes, ATerms, datetime, ACase], Finding | None]
"""From what is noted, and nothing else, to a finding, its `state_digest` yet to be set; None if the case is none."""


def detect(
    judge: Judge[ATerms, ACase], cases: Iterable[ACase], config: ATerms, state: SignalState, now: datetime
) -> tuple[Detected, ...]:
    """Judges each case, noting what is read on the way."""
    found = []
    for case in cases:
        notes = Notes.on(state)
        finding = judge(notes, config, now, case)
        if finding is not None:
            body = kept(Basis(at=now, config=config, case=case, facts=notes.facts()), finding.subject)
            found.append(Detected(drawn_from(finding, body), body))
    return tuple(found)


def drawn_from(finding: Finding, body: bytes) -> Finding:
    return finding.model_copy(update={"state_digest": sha256(body)})


def draw(sighting: Sighting, specialist: str, notes: Notes, now: datetime) -> Finding:
    subject = sighting.subject
    causes = [part.subject for part in sighting.attribution if part.subject != subject]
    edges = tuple(dict.fromkeys([*sighting.ways, *_edges(subject, causes, notes)]))[:MAX_EDGES]
    finding = Finding(
        id=_identity(sighting, specialist, now),
        detector=specialist,
        mode=sighting.mode,
        subject=subject,
        scope=sighting.scope or notes.scope_of(subject),
        severity=sighting.severity,
        onset=sighting.onset,
        detected=now,
        observations=(*sighting.observations, *_changes([subject, *causes], sighting.onset, notes, now)),
        attribution=sighting.attribution[:MAX_ATTRIBUTION],
        edges=edges,
        estimated=sighting.estimated,
        state_digest=_UNKNOWN,
        code_digest=manifest_digest(specialist),
    )
    return _fitted(finding)


def _changes(subjects: list[Subject], onset: datetime, notes: Notes, now: datetime) -> tuple[Observation, ...]:
    """What was changed about the subject or its causes shortly before the trouble or since, by others and by us. It is
    told, not weighed: a change is no sign of any one mode."""
    recent = notes.changes(onset - CHANGED_BEFORE, now, frozenset(subjects[:MAX_SUBJECTS]))
    seen = Counter(CHANGES[kind] for _, kind, _, _ in recent if kind in CHANGES)
    return tuple(
        Observation(sign=sign, observed=float(seen[sign]), expected=0.0, unit="changes") for sign in sorted(seen)
    )


def _fitted(finding: Finding) -> Finding:
    """With as many of its edges and attributions, the first ones, as an entry has room for."""
    while len(canonical_model(finding)) > MAX_FINDING and (finding.edges or len(finding.attribution) > 1):
        edges, attribution = finding.edges, finding.attribution
        fewer = edges[: len(edges) * 3 // 4] if edges else ()
        parts = attribution if edges else attribution[: len(attribution) // 2]
        finding = finding.model_copy(update={"edges": fewer, "attribution": parts})
    return finding


def _identity(sighting: Sighting, specialist: str, now: datetime) -> FindingId:
    """In the form of every id (time first), but derived, not drawn."""
    causes = ",".join(str(part.subject) for part in sighting.attribution)
    text = f"{specialist}|{sighting.mode}|{sighting.subject}|{causes}|{format_instant(now)}"
    return FindingId(f"fnd_{int(now.timestamp() * 1000):012x}{_sha256(text.encode()).hexdigest()[:16]}")


def _edges(subject: Subject, causes: list[Subject], notes: Notes) -> list[Edge]:
    """The ways to the causes first, then what stands around the subject."""
    found = [edge for cause in causes for edge in notes.path(subject, cause) or ()]
    found += notes.around(subject)
    return found
