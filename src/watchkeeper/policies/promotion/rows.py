"""Words about agents in and out of the table, each in the caller's transaction.

Rows are believed as they stand: that a word has its ledger entry is for whoever writes it.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import ColumnElement, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.agents import StandingChanged, Word
from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.decisions import Autonomy
from watchkeeper.core.subjects import Scope
from watchkeeper.policies.promotion.tables import agent_standing
from watchkeeper.policies.trust.key import TrustKey

MAX_PROMOTIONS = 1_000

_t = agent_standing.c


async def add(tx: AsyncConnection, said: StandingChanged) -> None:
    await tx.execute(
        insert(agent_standing).values(
            agent=said.agent,
            word=said.word.value,
            manifest_digest=said.manifest_digest,
            runbook=said.runbook,
            intent="" if said.intent is None else said.intent.value,
            environment="" if said.scope is None else said.scope.environment,
            service="" if said.scope is None else said.scope.service,
            at=said.at,
            body=canonical_model(said),
        )
    )


async def ceiling(tx: AsyncConnection, agent: str) -> Autonomy | None:
    """None: nobody ever set one."""
    said = await _latest(tx, (_t.agent == agent) & (_t.word == Word.CEILING))
    return None if said is None else said.autonomy


async def promoted(tx: AsyncConnection, key: TrustKey) -> Autonomy | None:
    """How far, for the make that the key names. None: not at all."""
    said = await _latest(tx, _about(key))
    return None if said is None else said.autonomy


async def promotions(tx: AsyncConnection, agents: Iterable[str]) -> list[StandingChanged]:
    """The promotions of these agents that were not taken back, of whatever make; at most `MAX_PROMOTIONS`, to show."""
    return await _standing(tx, _t.agent.in_(sorted(agents)), MAX_PROMOTIONS)


async def of_every_make(tx: AsyncConnection, key: TrustKey) -> list[StandingChanged]:
    """Those of the action in its scope, for this make or another."""
    return await _standing(tx, _action(key) & _in(key.scope), None)


async def in_every_scope(tx: AsyncConnection, key: TrustKey) -> list[StandingChanged]:
    """Those of the action for this make, in its scope or another."""
    return await _standing(tx, _action(key) & (_t.manifest_digest == key.manifest_digest), None)


async def _standing(tx: AsyncConnection, which: ColumnElement[bool], limit: int | None) -> list[StandingChanged]:
    about = (_t.agent, _t.manifest_digest, _t.runbook, _t.intent, _t.environment, _t.service)
    newest = select(func.max(_t.id)).where(which, _t.word != Word.CEILING).group_by(*about)
    held = _t.id.in_(newest) & (_t.word == Word.PROMOTED)
    query = select(_t.body).where(held).order_by(*about).limit(limit)
    return [StandingChanged.model_validate_json(body) for body in (await tx.execute(query)).scalars()]


def _about(key: TrustKey) -> ColumnElement[bool]:
    return _action(key) & (_t.word != Word.CEILING) & (_t.manifest_digest == key.manifest_digest) & _in(key.scope)


def _action(key: TrustKey) -> ColumnElement[bool]:
    return (_t.agent == key.agent) & (_t.runbook == key.runbook) & (_t.intent == key.intent)


def _in(scope: Scope) -> ColumnElement[bool]:
    return (_t.environment == scope.environment) & (_t.service == scope.service)


async def _latest(tx: AsyncConnection, which: ColumnElement[bool]) -> StandingChanged | None:
    query = select(_t.body).where(which).order_by(_t.id.desc()).limit(1)
    body = (await tx.execute(query)).scalar_one_or_none()
    return None if body is None else StandingChanged.model_validate_json(body)
