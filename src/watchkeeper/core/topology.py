"""What belongs to which service, as the team configured it: the source of proven edges that no telemetry can forge.

It knows only what was written down; what calls and spans show is joined in `watchkeeper.signals`.
"""

from __future__ import annotations

from watchkeeper.core.model import Contract
from watchkeeper.core.subjects import Edge, EdgeSource, Scope, Subject, SubjectKind


class ServiceEntry(Contract):
    """One service of one environment. `keys` are gateway key hashes, `models` are model groups at the gateway."""

    name: str
    environment: str = "production"
    agents: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    """What of the infrastructure is the service's, by the target's text (`kubernetes:prod/deployment/shop/web`), or a
    prefix ending in *."""

    @property
    def scope(self) -> Scope:
        return Scope(environment=self.environment, service=self.name)

    def members(self) -> tuple[Subject, ...]:
        groups = (
            (SubjectKind.AGENT, self.agents),
            (SubjectKind.KEY, self.keys),
            (SubjectKind.MODEL, self.models),
        )
        return tuple(Subject(kind=kind, id=name) for kind, names in groups for name in names)


class Topology(Contract):
    services: tuple[ServiceEntry, ...] = ()
    default_environment: str = "production"

    def scope_of(self, subject: Subject) -> Scope | None:
        """The scope of a configured subject; None when the configuration does not name it."""
        for entry in self.services:
            if subject in entry.members() or subject == Subject(kind=SubjectKind.SERVICE, id=entry.name):
                return entry.scope
            if subject.kind is SubjectKind.TARGET and any(_covers(each, subject.id) for each in entry.targets):
                return entry.scope
        return None

    def unassigned(self) -> Scope:
        return Scope(environment=self.default_environment, service="unassigned")

    def edges(self) -> tuple[Edge, ...]:
        return tuple(
            Edge(source=Subject(kind=SubjectKind.SERVICE, id=entry.name), target=member, known_from=EdgeSource.CONFIG)
            for entry in self.services
            for member in entry.members()
        )


def _covers(pattern: str, target: str) -> bool:
    return target.startswith(pattern[:-1]) if pattern.endswith("*") else target == pattern
