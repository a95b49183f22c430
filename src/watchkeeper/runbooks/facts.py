"""What a runbook may ask about the world: baselines and the gateway's inventory, as the caller read them.

A fact that is missing makes a runbook not applicable; it is never guessed.
"""

from __future__ import annotations

from watchkeeper.core.model import Contract, Labels
from watchkeeper.core.sli import Measure
from watchkeeper.core.subjects import Subject


class BaselineFact(Contract):
    """What `subject` normally does, in the unit of `measure`."""

    subject: Subject
    measure: Measure
    expected: float


class KeyFact(Contract):
    id: str
    spend_usd: float | None = None
    """Cumulative, as the gateway counts it against `max_budget`."""
    labels: Labels = ()


class DeploymentFact(Contract):
    """`weight` None: the gateway has none for it. `manageable`: it can be changed at run time."""

    id: str
    group: str
    provider: str = ""
    weight: float | None = None
    healthy: bool = True
    manageable: bool = True
    labels: Labels = ()


class GroupFact(Contract):
    """`candidates`: groups that the configuration declares as able to stand in; `fallbacks`: those set now."""

    name: str
    candidates: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()
    labels: Labels = ()


class ResolveFacts(Contract):
    """`adapter` is the configured name of the gateway's adapter (`litellm:main`)."""

    adapter: str
    baselines: tuple[BaselineFact, ...] = ()
    keys: tuple[KeyFact, ...] = ()
    deployments: tuple[DeploymentFact, ...] = ()
    groups: tuple[GroupFact, ...] = ()

    def baseline(self, subject: Subject, measure: Measure) -> float | None:
        return next((b.expected for b in self.baselines if b.subject == subject and b.measure is measure), None)

    def key(self, name: str) -> KeyFact | None:
        return next((key for key in self.keys if key.id == name), None)

    def group(self, name: str) -> GroupFact | None:
        return next((group for group in self.groups if group.name == name), None)

    def members(self, group: str) -> tuple[DeploymentFact, ...]:
        return tuple(deployment for deployment in self.deployments if deployment.group == group)
