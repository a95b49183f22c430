"""What one cause means in the gateway: the things to act on, found by inventory and edges, never by a name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from watchkeeper.core.actions import Target
from watchkeeper.core.diagnosis import Cause
from watchkeeper.core.subjects import Edge, Subject, SubjectKind
from watchkeeper.runbooks.facts import DeploymentFact, ResolveFacts
from watchkeeper.runbooks.model import CAUSE_KIND, Condition, GatewayKind, Select, TargetKind

MAX_HOPS = 3


class Missing(Exception):
    """A fact that the runbook needs is not there; `reason` is a short code. Never leaves this room."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Context:
    """One place to act: a key, one model group with the deployments of it that are the cause, or a target of the
    infrastructure."""

    facts: ResolveFacts
    cause: Subject
    edges: tuple[Edge, ...] = ()
    key: str = ""
    group: str = ""
    failing: tuple[DeploymentFact, ...] = field(default=())
    target: Target | None = None
    """What of the infrastructure the cause is."""

    @property
    def healthy(self) -> tuple[DeploymentFact, ...]:
        others = (other for other in self.facts.members(self.group) if other not in self.failing)
        return tuple(other for other in others if other.healthy)

    @property
    def stand_ins(self) -> tuple[str, ...]:
        """The declared fallbacks of the group that may serve: those of which nothing, or not only bad, is known."""
        group = self.facts.group(self.group)
        return tuple(name for name in (group.candidates if group else ()) if self._serves(name))

    def _serves(self, group: str) -> bool:
        members = self.facts.members(group)
        return not members or any(each.healthy for each in members)

    def holds(self, condition: Condition) -> bool:
        idle = not sum(each.weight or 0.0 for each in self.healthy)
        drains = bool(self.healthy and self.failing) and self._to_drain(idle=idle)
        match condition:
            case Condition.ALWAYS:
                return True
            case Condition.HEALTHY_SIBLING:
                return drains
            case Condition.STANDBY_IDLE:
                return drains and idle
            case Condition.NO_HEALTHY_SIBLING:
                return not drains

    def _to_drain(self, *, idle: bool) -> bool:
        """Whether the deployments can be managed; or nothing stands in, and the target is to say what is in the way."""
        moved = (*self.failing, *(self.healthy if idle else ()))
        return all(each.manageable for each in moved) or not self.stand_ins

    def targets(self, kind: TargetKind, select: Select) -> tuple[str, ...]:
        """The ids to act on; raises Missing rather than return none."""
        found: tuple[str, ...]
        match kind:
            case GatewayKind.KEY:
                found = (self.key,) if self.key else ()
            case GatewayKind.MODEL_GROUP:
                found = (self.group,) if self.group else ()
            case GatewayKind.DEPLOYMENT:
                found = tuple(each.id for each in (self.healthy if select is Select.STANDBY else self.failing))
            case _:
                meant = self.target is not None and kind in (self.target.kind, CAUSE_KIND)
                found = (self.target.id,) if self.target is not None and meant else ()
        if not found:
            raise Missing(f"no_{kind}_to_act_on")
        return found

    @property
    def weight(self) -> float:
        """What the cause carries."""
        return sum(each.weight or 0.0 for each in self.failing)


def contexts(cause: Cause, edges: Iterable[Edge], facts: ResolveFacts, kind: TargetKind) -> tuple[Context, ...]:
    """Where to act for `cause` on targets of `kind`: the target that it is, one key, or each model group that it
    breaks. Raises Missing."""
    if kind not in tuple(GatewayKind):
        return (Context(facts, cause.subject, cause.path, target=_named(cause.subject)),)
    if kind == GatewayKind.KEY:
        key, path = _reach(cause.subject, (*cause.path, *edges), SubjectKind.KEY)
        return (Context(facts, cause.subject, (*cause.path, *path), key=key.id),)
    failing = _failing(cause.subject, facts)
    groups = sorted({each.group for each in failing})
    return tuple(
        Context(facts, cause.subject, cause.path, group=group, failing=tuple(f for f in failing if f.group == group))
        for group in groups
    )


def _named(subject: Subject) -> Target:
    found = Target.of(subject.id) if subject.kind is SubjectKind.TARGET else None
    if found is None:
        raise Missing("cause_names_no_target")
    return found


def _failing(subject: Subject, facts: ResolveFacts) -> tuple[DeploymentFact, ...]:
    match subject.kind:
        case SubjectKind.DEPLOYMENT:
            found = [each for each in facts.deployments if each.id == subject.id]
        case SubjectKind.PROVIDER:
            found = [each for each in facts.deployments if each.provider == subject.id]
        case SubjectKind.MODEL:
            found = [each for each in facts.members(subject.id) if not each.healthy]
        case _:
            found = []
    if not found:
        raise Missing("no_deployment_known_for_cause")
    return tuple(sorted(found, key=lambda each: each.id))


def _reach(start: Subject, edges: tuple[Edge, ...], kind: SubjectKind) -> tuple[Subject, tuple[Edge, ...]]:
    """The only nearest subject of `kind`, over proven edges if they lead there, else over all. Raises Missing."""
    if start.kind is kind:
        return start, ()
    for usable in ([edge for edge in edges if edge.known_from.proves], list(edges)):
        paths: dict[Subject, tuple[Edge, ...]] = {start: ()}
        for _ in range(MAX_HOPS):
            paths = _one_hop(paths, usable)
            found = [subject for subject in paths if subject.kind is kind]
            if len(found) > 1:
                raise Missing(f"several_{kind}s_lead_to_cause")
            if found:
                return found[0], paths[found[0]]
    raise Missing(f"no_{kind}_leads_to_cause")


def _one_hop(paths: dict[Subject, tuple[Edge, ...]], edges: list[Edge]) -> dict[Subject, tuple[Edge, ...]]:
    """Along what acts through what, never back: two callers of one model are not each other's cause."""
    wider = dict(paths)
    for edge in edges:
        if edge.source in paths and edge.target not in wider:
            wider[edge.target] = (*paths[edge.source], edge)
    return wider
