"""Outcomes in and out of the table, each in the caller's transaction. What is read is bounded, the newest first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, false, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.ids import IncidentId, PlanId
from watchkeeper.core.subjects import Scope
from watchkeeper.core.trust import Credit, Grounds, Origin, TrustOutcome
from watchkeeper.policies.rows import insert_or_ignore
from watchkeeper.policies.trust.evidence import Fact
from watchkeeper.policies.trust.key import TrustKey
from watchkeeper.policies.trust.tables import trust_outcome
from watchkeeper.policies.trust.terms import Terms

MAX_OUTCOMES = 10_000
"""Of one agent and action: the bound of more than these differs by less than a thousandth."""
MAX_KEYS = 1_000

_t = trust_outcome.c


async def add(tx: AsyncConnection, outcome: TrustOutcome) -> bool:
    """False if that end of the step is on record already, or a failure is, which nothing takes back."""
    failed = select(_t.plan).where(
        _t.plan == outcome.plan,
        _t.step == outcome.step,
        _t.agent == outcome.agent,
        _t.credit == Credit.FAILURE,
    )
    if outcome.credit is not Credit.FAILURE and (await tx.execute(failed)).first() is not None:
        return False
    values = outcome.model_dump(exclude={"scope"}) | outcome.scope.model_dump()
    row = insert_or_ignore(tx)(trust_outcome).values(values).on_conflict_do_nothing()
    return (await tx.execute(row.returning(_t.plan))).first() is not None


async def verified(tx: AsyncConnection, key: TrustKey, now: datetime, terms: Terms) -> list[Fact]:
    """Of the agent, its digest and the action, in whatever scope."""
    ours = (_t.agent == key.agent) & (_t.manifest_digest == key.manifest_digest) & (_t.origin != Origin.SHADOW)
    return await _facts(tx, ours, key, now, terms)


async def shadow(tx: AsyncConnection, key: TrustKey, now: datetime, terms: Terms) -> list[Fact]:
    """What became of it untreated, in the key's scope, whoever would have acted."""
    here = (_t.environment == key.scope.environment) & (_t.service == key.scope.service)
    return await _facts(tx, here & (_t.origin == Origin.SHADOW), key, now, terms)


async def keys(tx: AsyncConnection, current: Mapping[str, str]) -> list[TrustKey]:
    """What is kept of these agents (name → manifest digest)."""
    columns = (_t.agent, _t.manifest_digest, _t.runbook, _t.intent, _t.environment, _t.service)
    ours = [(_t.agent == agent) & (_t.manifest_digest == digest) for agent, digest in sorted(current.items())]
    query = select(*columns).where(or_(false(), *ours)).distinct().order_by(*columns).limit(MAX_KEYS)
    return [TrustKey(scope=_scope(row._mapping), **_less(row._mapping)) for row in await tx.execute(query)]


async def of_incident(tx: AsyncConnection, incident: IncidentId) -> list[TrustOutcome]:
    """Everything that was scored for an incident."""
    found = await tx.execute(select(trust_outcome).where(_t.incident == incident).order_by(_t.at, _t.plan, _t.step))
    return [TrustOutcome(scope=_scope(row._mapping), **_less(row._mapping)) for row in found]


async def _facts(
    tx: AsyncConnection, which: ColumnElement[bool], key: TrustKey, now: datetime, terms: Terms
) -> list[Fact]:
    since = now - timedelta(days=terms.half_life_days * terms.forgotten_after)
    query = (
        select(_t.plan, _t.environment, _t.service, _t.origin, _t.credit, _t.grounds, _t.at)
        .where(which, _t.runbook == key.runbook, _t.intent == key.intent, _t.at > since)
        .order_by(_t.at.desc(), _t.plan, _t.step, _t.credit)
        .limit(MAX_OUTCOMES)
    )
    return [
        Fact(
            plan=PlanId(row.plan),
            scope=_scope(row._mapping),
            origin=Origin(row.origin),
            credit=Credit(row.credit),
            grounds=Grounds(row.grounds),
            at=row.at,
        )
        for row in await tx.execute(query)
    ]


def _scope(row: RowMapping) -> Scope:
    return Scope(environment=row["environment"], service=row["service"])


def _less(row: RowMapping) -> dict[str, Any]:
    """All but the scope."""
    return {name: value for name, value in row.items() if name not in ("environment", "service")}
