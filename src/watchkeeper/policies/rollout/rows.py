"""Words about rollouts in and out of the table, each in the caller's transaction.

Rows are believed as they stand: that a word has its ledger entry is for whoever writes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from sqlalchemy import ColumnElement, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.ids import IncidentId, PlanId
from watchkeeper.core.phases import Phase
from watchkeeper.core.rollout import RolloutAdvanced, RolloutJudged, RolloutSetBack
from watchkeeper.core.subjects import Scope
from watchkeeper.policies.rollout.tables import rollout_word

MAX_SERVICES, MAX_HISTORY, MAX_JUDGED = 1_000, 1_000, 10_000

Said = RolloutAdvanced | RolloutSetBack | RolloutJudged
Move = RolloutAdvanced | RolloutSetBack

_t = rollout_word.c


class Word(StrEnum):
    ADVANCED = "advanced"
    SET_BACK = "set_back"
    JUDGED = "judged"


_MODELS: Mapping[Word, type[RolloutAdvanced] | type[RolloutSetBack] | type[RolloutJudged]] = {
    Word.ADVANCED: RolloutAdvanced,
    Word.SET_BACK: RolloutSetBack,
    Word.JUDGED: RolloutJudged,
}


def word_of(said: Said) -> Word:
    return next(word for word, model in _MODELS.items() if isinstance(said, model))


async def add(tx: AsyncConnection, said: Said) -> None:
    about = {"incident": getattr(said, "incident", None) or "", "plan": getattr(said, "plan", None) or ""}
    row = {**said.scope.model_dump(), **about, "word": word_of(said).value, "at": said.at}
    await tx.execute(insert(rollout_word).values(**row, body=canonical_model(said)))


async def move(tx: AsyncConnection, scope: Scope) -> Move | None:
    """The newest; None: nobody ever moved the service."""
    query = select(_t.word, _t.body).where(_of(scope), _t.word != Word.JUDGED).order_by(_t.id.desc()).limit(1)
    row = (await tx.execute(query)).one_or_none()
    return None if row is None else _move(row.word, row.body)


async def phase(tx: AsyncConnection, scope: Scope) -> Phase:
    """A service that nobody moved is in triage."""
    newest = await move(tx, scope)
    return Phase.TRIAGE if newest is None else newest.phase


async def moves(tx: AsyncConnection) -> list[Move]:
    """The newest of every service that was ever moved."""
    newest = select(func.max(_t.id)).where(_t.word != Word.JUDGED).group_by(_t.environment, _t.service)
    query = select(_t.word, _t.body).where(_t.id.in_(newest)).order_by(_t.environment, _t.service).limit(MAX_SERVICES)
    return [_move(row.word, row.body) for row in await tx.execute(query)]


async def was_set_back(tx: AsyncConnection, scope: Scope, plan: PlanId) -> bool:
    """Whether this plan already cost the service a phase."""
    query = select(_t.id).where(_of(scope), _t.word == Word.SET_BACK, _t.plan == plan).limit(1)
    return (await tx.execute(query)).first() is not None


async def judged(tx: AsyncConnection, scope: Scope, incidents: Iterable[str]) -> dict[IncidentId, bool]:
    """What people said last of these incidents."""
    wanted = set(incidents)
    query = select(_t.body).where(_of(scope), _t.word == Word.JUDGED).order_by(_t.id.desc()).limit(MAX_JUDGED)
    found: dict[IncidentId, bool] = {}
    for body in (await tx.execute(query)).scalars():
        said = RolloutJudged.model_validate_json(body)
        if said.incident in wanted:
            found.setdefault(said.incident, said.right)
    return found


async def history(tx: AsyncConnection, scope: Scope, limit: int, before: int | None) -> list[tuple[int, Said]]:
    """The latest first; `before`: older than the one with this number."""
    query = select(_t.id, _t.word, _t.body).where(_of(scope)).order_by(_t.id.desc()).limit(min(limit, MAX_HISTORY))
    if before is not None:
        query = query.where(_t.id < before)
    return [(row.id, _MODELS[Word(row.word)].model_validate_json(row.body)) for row in await tx.execute(query)]


def _of(scope: Scope) -> ColumnElement[bool]:
    return (_t.environment == scope.environment) & (_t.service == scope.service)


def _move(word: str, body: bytes) -> Move:
    if word == Word.ADVANCED:
        return RolloutAdvanced.model_validate_json(body)
    return RolloutSetBack.model_validate_json(body)
