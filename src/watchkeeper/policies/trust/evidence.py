"""From recorded outcomes to what is known of one (agent, action, scope) at a time. Pure, and free of their order."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from math import fsum
from typing import NamedTuple

from watchkeeper.core.ids import PlanId
from watchkeeper.core.subjects import Scope
from watchkeeper.core.trust import ROLLED_BACK, Credit, Grounds, Origin
from watchkeeper.policies.trust.posterior import Levels, Tally, weight
from watchkeeper.policies.trust.terms import Terms

_WORST = (Credit.FAILURE, Credit.SUCCESS, Credit.NOTHING)


class Fact(NamedTuple):
    """One recorded outcome, less what all of them have in common."""

    plan: PlanId
    scope: Scope
    origin: Origin
    credit: Credit
    grounds: Grounds
    at: datetime


class Counts(NamedTuple):
    """Outcomes as they are, neither weighed nor borrowed."""

    successes: int = 0
    failures: int = 0
    nothing: int = 0

    @property
    def n(self) -> int:
        return self.successes + self.failures

    @property
    def rate(self) -> float | None:
        return self.successes / self.n if self.n else None


class Evidence(NamedTuple):
    """`counts`, `edited`, `approved` (of the counts: those a person approved) and `rollbacks` are the scope's own."""

    levels: Levels = Levels()
    counts: Counts = Counts()
    approved: int = 0
    edited: Counts = Counts()
    rollbacks: int = 0
    """Plans that were within `terms.calm_days`, edited ones too, whatever else had failed of them before."""
    last: datetime | None = None
    untreated: Tally = Tally()
    untreated_counts: Counts = Counts()


def settled(facts: Iterable[Fact]) -> tuple[Fact, ...]:
    """One fact for each plan: the worst of its steps, and of equal ones the first. Two steps of one plan are no two
    trials."""
    found: dict[PlanId, Fact] = {}
    for fact in facts:
        known = found.get(fact.plan)
        if known is None or _badness(fact) < _badness(known):
            found[fact.plan] = fact
    return tuple(found.values())


def _badness(fact: Fact) -> tuple[int, datetime, str, str, str]:
    return _WORST.index(fact.credit), fact.at, fact.grounds, fact.origin, str(fact.scope)


def evidence(verified: Iterable[Fact], shadow: Iterable[Fact], scope: Scope, now: datetime, terms: Terms) -> Evidence:
    """`verified`: of one agent, digest and action in any scope. `shadow`: of the action in this scope, by anybody."""
    done = [fact for fact in verified if fact.origin is not Origin.SHADOW]
    ends = settled(done)
    kept = [fact for fact in ends if fact.origin is not Origin.EDITED]
    own = [fact for fact in kept if fact.scope == scope]
    edited = [fact for fact in ends if fact.origin is Origin.EDITED and fact.scope == scope]
    calm = now - timedelta(days=terms.calm_days)
    seen = settled(fact for fact in shadow if fact.origin is Origin.SHADOW and fact.scope == scope)
    return Evidence(
        levels=_levels(kept, scope, now, terms),
        counts=_counts(own),
        approved=sum(fact.origin is Origin.APPROVED and fact.credit is not Credit.NOTHING for fact in own),
        edited=_counts(edited),
        rollbacks=len({fact.plan for fact in done if fact.scope == scope and _rolled_back(fact) and fact.at > calm}),
        last=max((fact.at for fact in (*own, *edited)), default=None),
        untreated=_tally(seen, now, terms),
        untreated_counts=_counts(seen),
    )


def _levels(kept: Iterable[Fact], scope: Scope, now: datetime, terms: Terms) -> Levels:
    near: list[Fact] = []
    siblings: list[Fact] = []
    far: list[Fact] = []
    for fact in kept:
        same = fact.scope.environment == scope.environment
        (near if fact.scope == scope else siblings if same else far).append(fact)
    return Levels(*(_tally(each, now, terms) for each in (near, siblings, far)))


def _rolled_back(fact: Fact) -> bool:
    return fact.credit is Credit.FAILURE and fact.grounds in ROLLED_BACK


def _counts(facts: Iterable[Fact]) -> Counts:
    credits = [fact.credit for fact in facts]
    return Counts(*(credits.count(each) for each in (Credit.SUCCESS, Credit.FAILURE, Credit.NOTHING)))


def _tally(facts: Iterable[Fact], now: datetime, terms: Terms) -> Tally:
    """Summed exactly, so that the order in which rows are read changes no bit of a recorded decision."""
    weighed = [(fact.credit, weight(fact.at, now, terms)) for fact in facts]
    return Tally(
        fsum(each for credit, each in weighed if credit is Credit.SUCCESS),
        fsum(each for credit, each in weighed if credit is Credit.FAILURE),
    )
