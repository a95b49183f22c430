"""Agents as the policy and the record know them: what they are, what they may use, and people's word about them.

An agent is a specialist by name (`remediator/litellm`). A promotion is for one action, (runbook, intent), in one
scope, and for the make that it had: the digest of its modules. What it may do is still what policy grants.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from watchkeeper.core.actions import Intent
from watchkeeper.core.claims import EpochSeen
from watchkeeper.core.decisions import Autonomy
from watchkeeper.core.evidence import EvidenceRef
from watchkeeper.core.model import Contract, Instant
from watchkeeper.core.principals import Principal
from watchkeeper.core.subjects import Scope


class AgentRole(StrEnum):
    DETECTOR = "detector"
    DIAGNOSER = "diagnoser"
    REMEDIATOR = "remediator"


def remediates(agent: str) -> bool:
    """Whether it acts; detectors and diagnosers do not."""
    return agent.startswith(f"{AgentRole.REMEDIATOR}/")


class Usage(Contract):
    """What an agent used. Without a model there are neither tokens nor money in it."""

    iterations: int = Field(default=0, ge=0)
    """How often it was asked: findings made, causes sought, plans made."""
    wall_s: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    tokens: int = Field(default=0, ge=0)
    usd: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class AgentBudget(Contract):
    """What an agent may use in `per_s` seconds, sliding."""

    per_s: int = Field(default=3600, ge=60, le=86_400)
    """The window, in seconds."""
    iterations: int = Field(default=1000, ge=1)
    """Findings made, causes sought or plans made."""
    wall_s: float = Field(default=900.0, gt=0, allow_inf_nan=False)
    """Seconds of work."""
    tokens: int = Field(default=1_000_000, ge=0)
    """Of models; no agent uses one yet."""
    usd: float = Field(default=10.0, ge=0, allow_inf_nan=False)
    """What models cost; no agent uses one yet."""

    def exceeded_by(self, used: Usage) -> tuple[str, ...]:
        """The names of what is used up."""
        return tuple(name for name in ("iterations", "wall_s", "tokens", "usd") if getattr(used, name) > self._of(name))

    def _of(self, name: str) -> float:
        return float(getattr(self, name))


class Word(StrEnum):
    """What was said about an agent."""

    PROMOTED = "promoted"
    DEMOTED = "demoted"
    CEILING = "ceiling"


class Why(StrEnum):
    """Who or what said it. Only a person widens anything."""

    PERSON = "person"
    ROLLED_BACK = "rolled_back"
    BELOW_FLOOR = "below_floor"


class StandingChanged(Contract):
    """One word about an agent. `runbook`, `intent` and `scope` are of a promotion or demotion, and so is the digest of
    the make that it is about. `autonomy`: how far from now on; None: not promoted at all."""

    schema_name = "watchkeeper.dev/standing-changed/v1"
    word: Word
    agent: str
    manifest_digest: str = ""
    runbook: str = ""
    intent: Intent | None = None
    scope: Scope | None = None
    autonomy: Autonomy | None = None
    previous: Autonomy | None = None
    by: Principal
    why: Why
    reason: EvidenceRef | None = None
    epoch: EpochSeen | None = None
    """The agent's scope as the change left it, where it took authority away: no claim of before holds."""
    outcomes: int | None = Field(default=None, ge=0)
    lower_bound: float | None = Field(default=None, ge=0, le=1)
    """What the evidence said then, of a promotion and of what the evidence took back."""
    at: Instant
