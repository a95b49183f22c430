"""What was seen of a service lately: whether what was found and proposed was right, and what came of it.

An incident counts once, when it is closed. It is judged by verified outcomes, by approvals that people gave or refused,
and by what a person said of it; one voice against it makes it wrong, and so does a plan that a person had to edit. What
nobody put to the test (shadow, a trouble gone by itself, too little traffic) judges nothing. It reads rows and says
nothing of incidents beyond the newest `MAX_INCIDENTS`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Select, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.agents.incidents import Status
from watchkeeper.agents.tables import incident
from watchkeeper.core.agents import remediates
from watchkeeper.core.subjects import Scope
from watchkeeper.core.trust import ROLLED_BACK, Credit, Grounds, Origin
from watchkeeper.policies.approval.approvals import ApprovalState
from watchkeeper.policies.rollout import rows as rollout
from watchkeeper.policies.rollout.criteria import Track
from watchkeeper.policies.rows import UNKNOWN
from watchkeeper.policies.tables import approval, effect_claim
from watchkeeper.policies.trust.tables import trust_outcome

MAX_INCIDENTS = 5_000
DAY_S = 86_400
RECOVERED = "recovered"
"""The resolution of an incident that ended as its runbook says, without being handed over."""


@dataclass
class _Story:
    """One closed incident."""

    resolution: str
    right: bool = False
    wrong: bool = False
    proposed: bool = False
    asked: bool = False
    """A person was asked."""
    acted: set[Origin] = field(default_factory=set)

    @property
    def alone(self) -> bool:
        unasked = not self.asked and self.acted == {Origin.ALONE}
        return unasked and self.right and not self.wrong and self.resolution == RECOVERED


async def track(tx: AsyncConnection, scope: Scope, since: datetime | None, now: datetime, window_days: float) -> Track:
    """`since`: when the service entered its phase; None: nobody moved it, and it counts from its first incident."""
    begin = now - timedelta(days=window_days)
    stories = await _stories(tx, scope, begin)
    judged = [each for each in stories if each.right or each.wrong]
    routine = [each for each in stories if each.proposed]
    unsafe, rollbacks = await _failures(tx, scope, begin)
    entered = since or await _first_incident(tx, scope)
    return Track(
        days_in_phase=None if entered is None else (now - entered).total_seconds() / DAY_S,
        judged=len(judged),
        right=sum(not each.wrong for each in judged),
        rollbacks=rollbacks,
        unsafe=unsafe,
        unknown=await _unknown(tx, scope),
        routine=len(routine),
        alone=sum(each.alone for each in routine),
    )


async def _stories(tx: AsyncConnection, scope: Scope, begin: datetime) -> list[_Story]:
    closed = _closed(scope, begin)
    found = {row.id: _Story(row.resolution) for row in await tx.execute(closed)}
    ids = select(closed.subquery().c.id)
    outcomes = select(
        trust_outcome.c.incident, trust_outcome.c.agent, trust_outcome.c.origin, trust_outcome.c.credit
    ).where(trust_outcome.c.incident.in_(ids))
    for row in await tx.execute(outcomes):
        _of_outcome(found[row.incident], row.agent, Origin(row.origin), Credit(row.credit))
    answers = select(approval.c.incident, approval.c.state).where(approval.c.incident.in_(ids))
    for answer in await tx.execute(answers):
        story = found[answer.incident]
        story.proposed = story.asked = True
        story.right |= answer.state == ApprovalState.APPROVED
        story.wrong |= answer.state == ApprovalState.REJECTED
    for name, right in (await rollout.judged(tx, scope, found)).items():
        found[name].right |= right
        found[name].wrong |= not right
    return list(found.values())


def _of_outcome(story: _Story, agent: str, origin: Origin, credit: Credit) -> None:
    story.proposed = True
    if origin is Origin.SHADOW:
        return
    if remediates(agent):
        story.acted.add(origin)
    story.right |= credit is Credit.SUCCESS
    story.wrong |= credit is Credit.FAILURE or origin is Origin.EDITED


def _closed(scope: Scope, begin: datetime) -> Select[tuple[str, str]]:
    t = incident.c
    here = and_(t.environment == scope.environment, t.service == scope.service)
    query = select(t.id, t.resolution).where(here, t.status == Status.CLOSED, t.closed > begin)
    return query.order_by(t.closed.desc(), t.id).limit(MAX_INCIDENTS)


async def _failures(tx: AsyncConnection, scope: Scope, begin: datetime) -> tuple[int, int]:
    """Plans that were unsafe, and those that were rolled back without being unsafe."""
    t = trust_outcome.c
    query = select(t.plan, t.grounds).where(
        t.environment == scope.environment,
        t.service == scope.service,
        t.credit == Credit.FAILURE,
        t.origin != Origin.SHADOW,
        t.grounds.in_(ROLLED_BACK),
        t.at > begin,
    )
    grounds: dict[str, set[str]] = defaultdict(set)
    for row in await tx.execute(query.distinct()):
        grounds[row.plan].add(row.grounds)
    unsafe = sum(Grounds.UNSAFE in each for each in grounds.values())
    return unsafe, len(grounds) - unsafe


async def _unknown(tx: AsyncConnection, scope: Scope) -> int:
    t = effect_claim.c
    here = and_(t.environment == scope.environment, t.service == scope.service, t.state == UNKNOWN)
    return int((await tx.execute(select(func.count()).select_from(effect_claim).where(here))).scalar_one())


async def _first_incident(tx: AsyncConnection, scope: Scope) -> datetime | None:
    t = incident.c
    query = select(func.min(t.opened, type_=t.opened.type)).where(
        t.environment == scope.environment, t.service == scope.service
    )
    found: datetime | None = (await tx.execute(query)).scalar_one()
    return found


async def services(tx: AsyncConnection, configured: Iterable[Scope]) -> Sequence[Scope]:
    """Those that are configured, that were moved, and that had an incident."""
    t = incident.c
    seen = await tx.execute(select(t.environment, t.service).distinct().limit(rollout.MAX_SERVICES))
    every = {*configured, *(each.scope for each in await rollout.moves(tx))}
    every |= {Scope(environment=row.environment, service=row.service) for row in seen}
    return sorted(every, key=str)
