"""Effects that were left open (a crash, a reply that never came, a stop) are observed until they are settled.

The incident's own nodes reconcile what they wait for; this is for claims that nobody drives any more. It sends nothing.
"""

from __future__ import annotations

import structlog

from watchkeeper.adapters.change import partial
from watchkeeper.agents.incidents import Incidents, Status
from watchkeeper.agents.remediator.execute import Executor
from watchkeeper.agents.remedies import new_remedy
from watchkeeper.core.actions import Change
from watchkeeper.core.claims import Claim, EffectPhase
from watchkeeper.core.outcomes import Effect, EffectOutcome
from watchkeeper.policies.claims import Claims
from watchkeeper.policies.remedies import Remedies
from watchkeeper.store.engine import Store

log = structlog.get_logger(__name__)

IDLE = (Status.ESCALATED, Status.CLOSED)


class Reconciler:
    def __init__(
        self, store: Store, claims: Claims, incidents: Incidents, remedies: Remedies, executor: Executor, holder: str
    ) -> None:
        self._store, self._claims, self._incidents, self._remedies = store, claims, incidents, remedies
        self._executor, self._holder = executor, holder

    async def run_once(self) -> int:
        """Looks at every open claim of incidents that wait for a person; returns how many were settled."""
        settled = 0
        for claim in await self._claims.open_claims():
            incident = await self._incidents.get(claim.incident)
            if incident.status not in IDLE:
                continue
            change = await self._change(claim)
            if change is None:
                continue
            outcome = await self._executor.reconcile(claim.key, change, self._holder)
            if outcome is not None:
                log.info("open_effect_observed", key=claim.key, effect=outcome.effect)
                await self._hold(claim, outcome)
                settled += 1
        return settled

    async def _hold(self, claim: Claim, outcome: EffectOutcome) -> None:
        """An effect that turns out to have happened is in force, and owed back, like any other."""
        plan = await self._incidents.plan(claim.incident, claim.plan)
        if plan is None or claim.phase is not EffectPhase.APPLY or outcome.effect is not Effect.SUCCEEDED:
            return
        if any(each.step == claim.step for each in await self._remedies.of_incident(claim.incident)):
            return
        made = new_remedy(plan, claim.step, outcome.at, plan.remedy_ttl_s, now=outcome.at)
        async with self._store.write() as tx:
            await self._remedies.record(tx, made)

    async def _change(self, claim: Claim) -> Change | None:
        """What the claim was to do; a release step's exact values are not kept, so it is left to a person."""
        plan = await self._incidents.plan(claim.incident, claim.plan)
        if plan is None or claim.phase is EffectPhase.RELEASE:
            return None
        change = plan.changes[claim.step]
        return change if claim.phase is EffectPhase.APPLY else partial(change, 0.0, 1.0)
