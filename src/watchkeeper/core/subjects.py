"""What a finding can be about, and how subjects are joined.

An edge is only as good as its provenance. `config`, `inventory` and `call_id` (the gateway's own record has the same
call) prove; what only a span's attributes tell is a claim, and `inferred` a guess: those prove nothing.
Ids here are identifiers of systems (key hashes, deployment ids), never a person's name.
"""

from __future__ import annotations

from enum import StrEnum

from watchkeeper.core.actions import Target
from watchkeeper.core.model import Contract

GATEWAYS = frozenset({"litellm"})
"""Adapters whose targets the signals name by kinds of their own: keys, deployments, models."""


class SubjectKind(StrEnum):
    SERVICE = "service"
    AGENT = "agent"
    RUN = "run"
    KEY = "key"
    TEAM = "team"
    MODEL = "model"
    DEPLOYMENT = "deployment"
    PROVIDER = "provider"
    PROMPT_VERSION = "prompt_version"
    TOOL = "tool"
    GATEWAY = "gateway"
    POD = "pod"
    HOST = "host"
    TARGET = "target"
    """What an adapter can act on, by the target's text: `kubernetes:prod/deployment/shop/web`."""


class Subject(Contract):
    schema_name = "watchkeeper.dev/subject/v1"
    kind: SubjectKind
    id: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"

    @classmethod
    def of_target(cls, target: Target) -> Subject | None:
        """What stands for a target of the infrastructure; None for a gateway's: its things have kinds of their own."""
        if target.adapter.partition(":")[0] in GATEWAYS:
            return None
        return cls(kind=SubjectKind.TARGET, id=str(target))


class EdgeSource(StrEnum):
    CONFIG = "config"
    CALL_ID = "call_id"
    INVENTORY = "inventory"
    SPAN = "span"
    INFERRED = "inferred"

    @property
    def proves(self) -> bool:
        return self in (EdgeSource.CONFIG, EdgeSource.CALL_ID, EdgeSource.INVENTORY)


class Edge(Contract):
    """`source` acts through or depends on `target`; `count` is how many observations back it."""

    schema_name = "watchkeeper.dev/edge/v1"
    source: Subject
    target: Subject
    known_from: EdgeSource
    count: int = 1


class Scope(Contract):
    """Where authority is granted and trust is earned."""

    schema_name = "watchkeeper.dev/scope/v1"
    environment: str
    service: str

    def __str__(self) -> str:
        return f"{self.environment}/{self.service}"
