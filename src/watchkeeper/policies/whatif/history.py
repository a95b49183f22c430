"""Our own doing, folded from the log's entries: what `policies.facts` reads from the tables, at any earlier time.

Two are kept side by side, one of what was and one of what would have been; only where they differ is anything
concluded from them, so what the log does not tell (a claim that was taken over to look) weighs on both alike.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from watchkeeper.core.claims import Claim, EffectPhase
from watchkeeper.core.decisions import DecisionInput
from watchkeeper.core.ids import ActionKey, PlanId, RemedyId
from watchkeeper.core.outcomes import Effect, EffectOutcome
from watchkeeper.core.plans import Plan
from watchkeeper.core.remedies import HELD, Remedy

Scoped = tuple[str, str, str]
"""Runbook, environment, service: what a rate counts by."""


def scoped(runbook: str, environment: str, service: str) -> Scoped:
    return runbook, environment, service


class _Done(NamedTuple):
    plan: PlanId
    target: str
    counted: Scoped | None
    """None: giving back is not counted by rates."""
    taken: datetime


class Supposed(NamedTuple):
    """What a plan that was never carried out would hold, until then. `fields` are (target, path)."""

    plan: PlanId
    targets: frozenset[str]
    fields: frozenset[tuple[str, str]]
    until: datetime


class History:
    def __init__(self) -> None:
        self._done: dict[ActionKey, _Done] = {}
        self._failed: set[ActionKey] = set()
        self._acting: set[ActionKey] = set()
        self._holding: dict[RemedyId, tuple[PlanId, str]] = {}
        self._rates: defaultdict[Scoped, list[datetime]] = defaultdict(list)
        self._on_target: defaultdict[str, list[tuple[datetime, ActionKey]]] = defaultdict(list)
        self._supposed: dict[PlanId, Supposed] = {}

    def claimed(self, claim: Claim, plan: Plan) -> None:
        """A claim that is taken again counts from then on."""
        target = str(plan.actions[claim.step].target)
        counted = scoped(plan.runbook.name, plan.scope.environment, plan.scope.service)
        applies = claim.phase is EffectPhase.APPLY
        self._take(claim.key, _Done(claim.plan, target, counted if applies else None, claim.taken))
        self._acting.add(claim.key)
        self._supposed.pop(claim.plan, None)

    def settled(self, outcome: EffectOutcome) -> None:
        """An unknown effect may still land."""
        if outcome.key not in self._done or outcome.effect is Effect.UNKNOWN:
            return
        self._acting.discard(outcome.key)
        if outcome.effect is Effect.FAILED:
            self._failed.add(outcome.key)

    def held(self, remedy: Remedy) -> None:
        if remedy.status in HELD:
            self._holding[remedy.id] = (remedy.plan, str(remedy.change.target))
        else:
            self._holding.pop(remedy.id, None)

    def suppose(self, given: DecisionInput, plan: Plan | None, ttl_s: float | None) -> None:
        """That the plan was carried out at once: one effect for each request, and what it changes held until `ttl_s`
        is over."""
        counted = scoped(given.runbook, given.scope.environment, given.scope.service)
        for request in given.requests:
            key = ActionKey(f"{given.plan}/{request.step}/{EffectPhase.APPLY}")
            if key not in self._done:
                self._take(key, _Done(given.plan, str(request.target), counted, given.at))
        self._supposed = {each.plan: each for each in self._still(given.at)}
        self._supposed[given.plan] = Supposed(
            plan=given.plan,
            targets=frozenset(str(request.target) for request in given.requests),
            fields=frozenset() if plan is None else _fields(plan),
            until=given.at + timedelta(seconds=ttl_s or 0.0),
        )

    def rate(self, counted: Scoped, window_s: int, at: datetime) -> int:
        """Effects claimed after the beginning of the window; none is later than `at`."""
        taken = self._rates.get(counted, [])
        return len(taken) - bisect_right(taken, at - timedelta(seconds=window_s))

    def last(self, target: str) -> datetime | None:
        """When the last effect on the target was claimed that did not fail."""
        return next((at for at, key in reversed(self._on_target.get(target, [])) if key not in self._failed), None)

    def running(self, besides: PlanId, at: datetime, target: str | None = None) -> int:
        """Plans that act or hold something, anywhere or on one target."""
        acting = ((self._done[key].plan, self._done[key].target) for key in self._acting)
        plans = {plan for plan, where in (*acting, *self._holding.values()) if target in (None, where)}
        plans |= {each.plan for each in self._still(at) if target is None or target in each.targets}
        return len(plans - {besides})

    def in_the_way(self, plan: Plan | None, at: datetime) -> Iterable[PlanId]:
        """Plans that were never carried out and would own a field that this one changes."""
        if plan is None:
            return ()
        fields = _fields(plan)
        return sorted(each.plan for each in self._still(at) if each.plan != plan.id and each.fields & fields)

    def _still(self, at: datetime) -> Iterable[Supposed]:
        return (each for each in self._supposed.values() if each.until > at)

    def _take(self, key: ActionKey, done: _Done) -> None:
        before = self._done.get(key)
        if before is not None:
            self._on_target[before.target].remove((before.taken, key))
            if before.counted is not None:
                self._rates[before.counted].remove(before.taken)
        self._done[key] = done
        insort(self._on_target[done.target], (done.taken, key))
        if done.counted is not None:
            insort(self._rates[done.counted], done.taken)


def _fields(plan: Plan) -> frozenset[tuple[str, str]]:
    return frozenset((str(change.target), field.path) for change in plan.changes for field in change.fields)
