"""Which findings belong to one incident: by fingerprint, by a proven way between their subjects, or by our own remedy.

Two different modes belong together only where one can bring about the other, so that a fault which merely shares a
provider with an open incident is not lost in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from watchkeeper.core.findings import FailureMode, Finding, Sign
from watchkeeper.core.ids import IncidentId
from watchkeeper.core.model import Contract, Instant
from watchkeeper.core.subjects import Edge, Subject, SubjectKind

SLACK = timedelta(minutes=5)
"""Onsets are known to a step only, and a cause may be seen after what it brings about."""
MAX_HOPS = 6

_CALLERS = frozenset({SubjectKind.SERVICE, SubjectKind.AGENT, SubjectKind.KEY, SubjectKind.RUN})
_SPENDING = frozenset({FailureMode.RUNAWAY_LOOP, FailureMode.COST_SPIKE})


class Held(Contract):
    """A subject that a remedy of an incident changed, and since when."""

    subject: Subject
    since: Instant


class OpenIncident(Contract):
    id: IncidentId
    opened: Instant
    findings: tuple[Finding, ...]
    held: tuple[Held, ...] = ()


def correlate(finding: Finding, open_incidents: Sequence[OpenIncident]) -> IncidentId | None:
    """The open incident that the finding belongs to; the earliest where several would do, None for a new one."""
    ordered = sorted(open_incidents, key=lambda incident: (incident.opened, incident.id))
    for belongs in (_same, _explained_by_remedy, _linked):
        for incident in ordered:
            if belongs(finding, incident):
                return incident.id
    return None


def _same(finding: Finding, incident: OpenIncident) -> bool:
    return any(known.fingerprint == finding.fingerprint for known in incident.findings)


def _linked(finding: Finding, incident: OpenIncident) -> bool:
    return any(_overlaps(finding, known) and _one_trouble(finding, known) for known in incident.findings)


def _overlaps(a: Finding, b: Finding) -> bool:
    """The trouble of one had begun when the other was last known to be there."""
    return a.onset <= b.detected + SLACK and b.onset <= a.detected + SLACK


def _one_trouble(a: Finding, b: Finding) -> bool:
    edges = {*a.edges, *b.edges}
    if a.mode is b.mode:
        return way(edges, a.subject, b.subject) is not None
    return explains(a, b, edges) or explains(b, a, edges)


def explains(cause: Finding, effect: Finding, edges: Iterable[Edge] = ()) -> bool:
    """Whether one finding can have brought about the other: a loop costs, and a loop or a cost spike uses up quotas."""
    known = {*edges, *cause.edges, *effect.edges}
    linked = any(way(known, each, effect.subject) is not None for each in _callers(cause))
    match cause.mode, effect.mode:
        case FailureMode.RUNAWAY_LOOP, FailureMode.COST_SPIKE:
            return linked
        case ((FailureMode.RUNAWAY_LOOP | FailureMode.COST_SPIKE), FailureMode.PROVIDER_OUTAGE):
            signs = {observation.sign for observation in effect.observations}
            return linked and Sign.HTTP_429 in signs and not signs & {Sign.HTTP_5XX, Sign.TIMEOUTS}
        case _:
            return False


def _callers(finding: Finding) -> list[Subject]:
    """The subject, and the key that the trouble goes through."""
    keys = [part.subject for part in finding.attribution if part.subject.kind is SubjectKind.KEY and part.share >= 0.5]
    return list(dict.fromkeys([finding.subject, *keys]))


def _explained_by_remedy(finding: Finding, incident: OpenIncident) -> bool:
    """Invariant 12: what our own change can have caused, on what it touched, since it was made."""
    edges = {edge for known in (finding, *incident.findings) for edge in known.edges if edge.known_from.proves}
    return any(
        finding.detected >= held.since
        and _can_cause(held.subject.kind, finding)
        and (way(edges, held.subject, finding.subject) is not None or _siblings(edges, held.subject, finding.subject))
        for held in incident.held
    )


def _siblings(edges: Iterable[Edge], a: Subject, b: Subject) -> bool:
    """Whether one model group spreads its calls over both."""
    above = [{edge.source for edge in edges if edge.target == each} for each in (a, b)]
    return any(source.kind is SubjectKind.MODEL for source in above[0] & above[1])


def _can_cause(kind: SubjectKind, finding: Finding) -> bool:
    """A limit on a caller can change what callers do; a shift of traffic what the shared parts bear and cost."""
    if kind in _CALLERS:
        return finding.mode in _SPENDING and finding.subject.kind in _CALLERS
    return finding.subject.kind not in _CALLERS


def way(edges: Iterable[Edge], a: Subject, b: Subject) -> tuple[Edge, ...] | None:
    """The shortest chain of proven edges from `a` to `b`, else from `b` to `a`; () for the same subject."""
    proven = sorted((edge for edge in set(edges) if edge.known_from.proves), key=_order)
    return () if a == b else _chain(proven, a, b) or _chain(proven, b, a)


def _order(edge: Edge) -> tuple[str, str, str, int]:
    return (str(edge.source), str(edge.target), edge.known_from, edge.count)


def _chain(edges: list[Edge], start: Subject, goal: Subject) -> tuple[Edge, ...] | None:
    chains: dict[Subject, tuple[Edge, ...]] = {start: ()}
    for _ in range(MAX_HOPS):
        grown = {
            edge.target: (*chains[edge.source], edge)
            for edge in edges
            if edge.source in chains and edge.target not in chains
        }
        chains.update(grown)
        if goal in chains:
            return chains[goal]
    return None
