"""From what a detector saw to a finding with its evidence: the part of the state it was drawn from.

The same state and time give the same finding, its id included. However long the names of what it is about, it fits a
ledger entry: what stands farthest from the subject is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from hashlib import sha256 as _sha256
from typing import NamedTuple

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
MAX_SNAPSHOT = 900_000
"""Bytes; the evidence store takes a little more."""


CHANGED_BEFORE = timedelta(minutes=15)
CHANGES = {
    EventKind.DEPLOY: Sign.RECENT_CHANGE,
    EventKind.PROMPT_CHANGE: Sign.RECENT_CHANGE,
    EventKind.MODEL_CHANGE: Sign.RECENT_CHANGE,
    EventKind.STATE_CHANGE: Sign.RECENT_CHANGE,
    EventKind.OWN_EFFECT: Sign.OWN_EFFECT,
}


class Detected(NamedTuple):
    """A finding, and the bytes whose digest it carries: restored, they give the same finding again."""

    finding: Finding
    snapshot: bytes


class Sighting(NamedTuple):
    """What a detector saw. `fine_since`: how far back it read single buckets; `runs`: the runs it read."""

    mode: FailureMode
    subject: Subject
    severity: Severity
    onset: datetime
    observations: tuple[Observation, ...]
    attribution: tuple[Attribution, ...]
    fine_since: datetime
    runs: tuple[str, ...] = ()
    estimated: bool = False
    scope: Scope | None = None
    """Where the detector knows better than the links."""
    ways: tuple[Edge, ...] = ()
    """What the detector knows of how the trouble comes to its causes, beside the links."""


def draw(sighting: Sighting, specialist: str, state: SignalState, now: datetime) -> Detected:
    subject = sighting.subject
    causes = [part.subject for part in sighting.attribution if part.subject != subject]
    edges = tuple(dict.fromkeys([*sighting.ways, *_edges(subject, causes, state)]))[:MAX_EDGES]
    body = _snapshot(sighting, [subject, *causes, *_ends(edges)], state)
    finding = Finding(
        id=_identity(sighting, specialist, now),
        detector=specialist,
        mode=sighting.mode,
        subject=subject,
        scope=sighting.scope or state.scope_of(subject),
        severity=sighting.severity,
        onset=sighting.onset,
        detected=now,
        observations=(*sighting.observations, *_changes([subject, *causes], sighting.onset, state, now)),
        attribution=sighting.attribution[:MAX_ATTRIBUTION],
        edges=edges,
        estimated=sighting.estimated,
        state_digest=sha256(body),
        code_digest=manifest_digest(specialist),
    )
    return Detected(_fitted(finding), body)


def _changes(subjects: list[Subject], onset: datetime, state: SignalState, now: datetime) -> tuple[Observation, ...]:
    """What was changed about the subject or its causes shortly before the trouble or since, by others and by us. It is
    told, not weighed: a change is no sign of any one mode."""
    about = frozenset(subjects[:MAX_SUBJECTS])
    recent = state.changes(onset - CHANGED_BEFORE, now)
    seen = Counter(CHANGES[kind] for _, kind, _, subject in recent if kind in CHANGES and subject in about)
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


def _edges(subject: Subject, causes: list[Subject], state: SignalState) -> list[Edge]:
    """The ways to the causes first, then what stands around the subject."""
    found = [edge for cause in causes for edge in state.path(subject, cause) or ()]
    found += state.around(subject)
    return found


def _ends(edges: Iterable[Edge]) -> list[Subject]:
    return [end for edge in edges for end in (edge.source, edge.target)]


def _snapshot(sighting: Sighting, subjects: list[Subject], state: SignalState) -> bytes:
    """The part of the state about these subjects; about fewer of them where that is too much to keep."""
    kept = list(dict.fromkeys(subjects))[:MAX_SUBJECTS]
    while True:
        body = state.extract(kept, sighting.runs, sighting.fine_since)
        if len(body) <= MAX_SNAPSHOT or len(kept) == 1:
            return body
        kept = kept[: len(kept) // 2]
