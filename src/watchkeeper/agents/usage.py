"""What each agent used of its budget, kept by the minute for a day.

It is added in the transaction of the work itself, so a crash neither loses nor doubles it. A window slides by minutes:
what was used up to a minute before it counts too. It stops nobody: decisions and nodes ask `spent`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.agents.tables import agent_usage
from watchkeeper.core.agents import AgentBudget, Usage
from watchkeeper.core.clock import Clock
from watchkeeper.policies.rows import insert_or_ignore
from watchkeeper.store.engine import Store

BUCKET_S = 60
KEPT_S = 86_400
_t = agent_usage.c
_COUNTS = ("iterations", "wall_ms", "tokens", "usd_micros")


class AgentUsage:
    """`budgets`: of the agents whose budget is not the default."""

    def __init__(self, store: Store, clock: Clock, budgets: Mapping[str, AgentBudget] | None = None) -> None:
        self._store, self._clock, self._budgets = store, clock, budgets or {}

    def budget(self, agent: str) -> AgentBudget:
        return self._budgets.get(agent, AgentBudget())

    async def add(self, tx: AsyncConnection, agent: str, used: Usage) -> None:
        bucket = _bucket(self._clock.now())
        counts = {
            "iterations": used.iterations,
            "wall_ms": round(used.wall_s * 1000),
            "tokens": used.tokens,
            "usd_micros": round(used.usd * 1_000_000),
        }
        into = insert_or_ignore(tx)(agent_usage).values(agent=agent, bucket=bucket, **counts)
        summed = {name: getattr(_t, name) + count for name, count in counts.items()}
        await tx.execute(into.on_conflict_do_update(index_elements=["agent", "bucket"], set_=summed))
        await tx.execute(delete(agent_usage).where(_t.agent == agent, _t.bucket < bucket - KEPT_S // BUCKET_S))

    async def used(self, agent: str) -> Usage:
        """Within its budget's time."""
        since = _bucket(self._clock.now()) - self.budget(agent).per_s // BUCKET_S
        sums = (func.coalesce(func.sum(getattr(_t, name)), 0).label(name) for name in _COUNTS)
        async with self._store.read() as tx:
            row = (await tx.execute(select(*sums).where(_t.agent == agent, _t.bucket >= since))).one()
        return Usage(
            iterations=int(row.iterations),
            wall_s=int(row.wall_ms) / 1000,
            tokens=int(row.tokens),
            usd=int(row.usd_micros) / 1_000_000,
        )

    async def spent(self, agent: str) -> tuple[str, ...]:
        """What of its budget is used up; nothing: it may go on."""
        return self.budget(agent).exceeded_by(await self.used(agent))


def _bucket(at: datetime) -> int:
    return int(at.timestamp()) // BUCKET_S
