"""Trust, kept: outcomes are recorded where they become final, and read before a decision.

`record` writes row and ledger entry in the transaction of what made the outcome final, so neither a crash nor a second
finder counts one twice or loses it. It does not judge what an outcome is: whoever settles it says so. It gives and
takes no authority: that is the policy's and people's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.agents import remediates
from watchkeeper.core.clock import Clock
from watchkeeper.core.entries import Draft, EntryType
from watchkeeper.core.ids import IncidentId
from watchkeeper.core.plans import Plan
from watchkeeper.core.trust import ROLLED_BACK, Credit, Grounds, Origin, TrustOutcome
from watchkeeper.ledger.append import Ledger
from watchkeeper.policies.rows import hold_epochs
from watchkeeper.policies.trust import rows
from watchkeeper.policies.trust.evidence import Evidence, evidence
from watchkeeper.policies.trust.key import TrustKey
from watchkeeper.policies.trust.posterior import lower_bound
from watchkeeper.policies.trust.standing import Standing, standing
from watchkeeper.policies.trust.terms import Terms
from watchkeeper.store.engine import Store

Heard = Callable[[AsyncConnection, Sequence[TrustOutcome]], Awaitable[None]]


class Trust:
    def __init__(self, store: Store, ledger: Ledger, clock: Clock, terms: Terms | None = None) -> None:
        self._store, self._ledger, self._clock = store, ledger, clock
        self.terms = terms or Terms()
        self._heard: list[Heard] = []

    async def record(self, tx: AsyncConnection, outcomes: Iterable[TrustOutcome]) -> None:
        """In the caller's transaction, before it appends to the ledger: who hears of it may take authority back, and
        claims lock epochs first and the ledger last. What is on record already is no news."""
        outcomes = tuple(outcomes)
        await hold_epochs(tx, _may_move(outcomes), "watchkeeper", self._clock.now())
        news = [outcome for outcome in outcomes if await rows.add(tx, outcome)]
        for hear in self._heard:
            await hear(tx, news)
        drafts = (Draft(type=EntryType.TRUST_OUTCOME, subject=each.incident, data=each) for each in news)
        await self._ledger.append(tx, *drafts)

    def tell(self, hear: Heard) -> None:
        """`hear` is told of the outcomes that are news, in the transaction that records them."""
        self._heard.append(hear)

    async def relapsed(self, tx: AsyncConnection, incident: IncidentId) -> None:
        """The trouble of a closed incident is back before it was calm for long enough: what had counted as a success
        counts as a failure. The diagnosis was right all the same, and stays."""
        known = await rows.of_incident(tx, incident)
        failed = {"credit": Credit.FAILURE, "grounds": Grounds.RELAPSED, "at": self._clock.now()}
        await self.record(tx, (each.model_copy(update=failed) for each in known if _may_relapse(each)))

    async def bound(self, keys: Iterable[TrustKey]) -> float | None:
        """The least lower bound of several; None if nothing is kept for one of them."""
        now = self._clock.now()
        async with self._store.read() as tx:
            known = [(key, await rows.verified(tx, key, now, self.terms)) for key in keys]
        least: float | None = None
        for key, facts in known:
            bound = lower_bound(evidence(facts, (), key.scope, now, self.terms).levels, self.terms)
            if bound is None:
                return None
            least = bound if least is None else min(least, bound)
        return least

    async def bound_of(self, plan: Plan) -> float | None:
        """What a decision about the plan is told: of its remediator, over every action in it."""
        return await self.bound(keys_of(plan))

    async def standing(self, key: TrustKey) -> Standing:
        async with self._store.read() as tx:
            return await self.standing_in(tx, key)

    async def standing_in(self, tx: AsyncConnection, key: TrustKey) -> Standing:
        """The same in the caller's transaction."""
        return standing(key, await self._known(tx, key, self._clock.now()), self.terms)

    async def standings(self, current: Mapping[str, str]) -> tuple[Standing, ...]:
        """Of these agents (name → manifest digest), everything that is kept under that digest."""
        now = self._clock.now()
        async with self._store.read() as tx:
            known = [(key, await self._known(tx, key, now)) for key in await rows.keys(tx, current)]
        return tuple(standing(key, each, self.terms) for key, each in known)

    async def _known(self, tx: AsyncConnection, key: TrustKey, now: datetime) -> Evidence:
        verified = await rows.verified(tx, key, now, self.terms)
        shadow = await rows.shadow(tx, key, now, self.terms)
        return evidence(verified, shadow, key.scope, now, self.terms)


def keys_of(plan: Plan) -> tuple[TrustKey, ...]:
    """What a plan's remediator is trusted by: one key for each kind of action in it."""
    return tuple(
        TrustKey(
            agent=plan.remediator,
            manifest_digest=plan.manifest_digest,
            runbook=plan.runbook.name,
            intent=intent,
            scope=plan.scope,
        )
        for intent in sorted({action.intent for action in plan.actions})
    )


def _may_move(outcomes: Iterable[TrustOutcome]) -> Iterator[str]:
    """The scopes whose authority may be taken back for these: all are held before the first goes into the ledger."""
    for outcome in outcomes:
        if outcome.credit is Credit.FAILURE and outcome.origin is not Origin.SHADOW:
            yield f"agent:{outcome.agent}"
            if outcome.grounds in ROLLED_BACK:
                yield f"service:{outcome.scope}"


def _may_relapse(outcome: TrustOutcome) -> bool:
    remediated = outcome.origin is not Origin.SHADOW and remediates(outcome.agent)
    return remediated and outcome.credit is Credit.SUCCESS
