"""The basis of a finding: the thresholds, the time, what was looked at, and every fact that was read. The same basis
and code give the same finding, byte for byte.

What did not fit is said: `whole` is false, and what was kept is about the subject alone, for people to read. From such
a basis nothing is judged again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from pydantic import model_validator

from watchkeeper.agents.detector.config import AlertsConfig, ProviderOutageConfig, RunawayLoopConfig, TokenCostConfig
from watchkeeper.agents.detector.facts import Facts
from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.findings import FailureMode
from watchkeeper.core.model import Contract, Instant
from watchkeeper.core.subjects import Subject
from watchkeeper.signals.state import RunView

MAX_SNAPSHOT = 900_000
"""Bytes; the evidence store takes a little more."""


class Spike(Contract):
    """A subject that spikes at the same time, and by how much: judged in a finding of its own, taken as it is here."""

    subject: Subject
    unit: str
    excess: float


class CostCase(Contract):
    """`spikes`: all of this look, the subject's own among them, in the order in which causes come before effects."""

    subject: Subject
    spikes: tuple[Spike, ...]


class LoopCase(Contract):
    """The runs of one agent and key that looked like loops."""

    agent: str
    key: str
    runs: tuple[RunView, ...]


class OutageCase(Contract):
    """`deployments`: those of the provider that were known; the subject alone, if no provider is known of it."""

    subject: Subject
    provider: Subject | None
    deployments: tuple[Subject, ...]


class AlertCase(Contract):
    """A target on which an alert that means the mode fires, the first of them since then."""

    subject: Subject
    mode: FailureMode
    since: Instant


Terms = TokenCostConfig | RunawayLoopConfig | ProviderOutageConfig | AlertsConfig
Case = CostCase | LoopCase | OutageCase | AlertCase


class Basis(Contract):
    schema_name = "watchkeeper.dev/finding-basis/v1"
    at: Instant
    config: Terms
    case: Case | None
    facts: Facts | None
    whole: bool = True

    @model_validator(mode="after")
    def _of_one_detector(self) -> Self:
        if self.case is not None and not isinstance(self.case, _CASES[type(self.config)]):
            raise ValueError("the thresholds are another detector's than the case")
        return self


_CASES: dict[type[Terms], type[Case]] = {
    TokenCostConfig: CostCase,
    RunawayLoopConfig: LoopCase,
    ProviderOutageConfig: OutageCase,
    AlertsConfig: AlertCase,
}


def kept(basis: Basis, subject: Subject) -> bytes:
    """The basis in bytes; as much of it as there is room for."""
    return next(body for body in map(canonical_model, _ever_less(basis, subject)) if len(body) <= MAX_SNAPSHOT)


def _ever_less(basis: Basis, subject: Subject) -> Iterator[Basis]:
    yield basis
    cut = basis.model_copy(update={"case": None, "whole": False})
    if basis.facts is not None:
        own = tuple(row for row in basis.facts.steps if row.of == subject)
        seen = tuple(told for told in basis.facts.buckets if told[0][0] == subject)
        facts = Facts(state=basis.facts.state, unassigned=basis.facts.unassigned, steps=own, buckets=seen)
        yield cut.model_copy(update={"facts": facts})
    yield cut.model_copy(update={"facts": None})
