"""The agents that there are, down to the specialist: what each is, what it keeps, and how it stands now.

An agent's identity is its name; its make is the digest of its modules (`manifest`). None of them uses a model: they
have no prompts and no tool schemas, and a change of their modules is the only change of make there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from watchkeeper.agents.manifest import (
    ALERTS,
    COST_SPIKE,
    GATEWAY_DIAGNOSER,
    MODULES,
    PROVIDER_OUTAGE,
    REMEDIATED,
    RUNAWAY_LOOP,
    manifest_digest,
)
from watchkeeper.agents.usage import AgentUsage
from watchkeeper.core.agents import AgentBudget, AgentRole, StandingChanged, Usage
from watchkeeper.core.decisions import Autonomy
from watchkeeper.core.model import Contract
from watchkeeper.policies.promotion.service import Promotions
from watchkeeper.policies.revocation.epochs import Epochs, EpochStatus

_SERIES = "series, baselines and findings of the last state.history_s, in the signal state and its snapshot"
_NOTHING = "nothing between incidents: it reads findings and signal state anew"
_RECORD = "verified outcomes (180 days' half-life), remedies in force, relapses of troubles that came back"

MEMORY: Mapping[str, str] = {
    COST_SPIKE: _SERIES,
    RUNAWAY_LOOP: _SERIES,
    PROVIDER_OUTAGE: _SERIES,
    ALERTS: _SERIES,
    GATEWAY_DIAGNOSER: _NOTHING,
    **{f"remediator/{system}": _RECORD for system in REMEDIATED},
}


class AgentState(StrEnum):
    ACTIVE = "active"
    REVOKED = "revoked"
    OVER_BUDGET = "over_budget"


class Agent(Contract):
    """`promotions` are those that were not taken back; one for another digest than the agent has now is void."""

    name: str
    role: AgentRole
    manifest_digest: str
    modules: tuple[str, ...]
    memory: str
    ceiling: Autonomy
    budget: AgentBudget
    used: Usage
    spent: tuple[str, ...]
    state: AgentState
    revoked: EpochStatus | None
    promotions: tuple[StandingChanged, ...]
    newest: int
    """The number of the newest line of its history: a promotion says which one the person knew of."""


@dataclass(frozen=True)
class Roster:
    promotions: Promotions
    usage: AgentUsage
    epochs: Epochs

    async def agents(self) -> tuple[Agent, ...]:
        promoted = await self.promotions.standing_now(tuple(MODULES))
        stopped = {each.scope: each for each in await self.epochs.status() if each.stopped}
        return tuple([await self._agent(name, promoted, stopped) for name in sorted(MODULES)])

    async def agent(self, name: str) -> Agent:
        """Raises NotFoundError for one that there is not."""
        manifest_digest(name)
        return next(each for each in await self.agents() if each.name == name)

    async def _agent(self, name: str, promoted: list[StandingChanged], stopped: Mapping[str, EpochStatus]) -> Agent:
        budget, used = self.usage.budget(name), await self.usage.used(name)
        spent, revoked = budget.exceeded_by(used), stopped.get(f"agent:{name}")
        state = AgentState.OVER_BUDGET if spent else AgentState.ACTIVE
        return Agent(
            name=name,
            role=role_of(name),
            manifest_digest=manifest_digest(name),
            modules=tuple(f"{package}/{file}" for package, file in MODULES[name]),
            memory=MEMORY[name],
            ceiling=await self.promotions.ceiling_of((name,)),
            budget=budget,
            used=used,
            spent=spent,
            state=state if revoked is None else AgentState.REVOKED,
            revoked=revoked,
            promotions=tuple(each for each in promoted if each.agent == name),
            newest=await self.promotions.newest(name),
        )


def role_of(name: str) -> AgentRole:
    return AgentRole(name.partition("/")[0])
