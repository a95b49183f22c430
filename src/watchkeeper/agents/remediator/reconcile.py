"""Effects that were left open (a crash, a reply that never came, a stop) are observed until they are settled.

The incident's own nodes reconcile what they wait for; this is for claims that nobody drives any more. It sends nothing.
"""

from __future__ import annotations

import structlog

from watchkeeper.adapters.change import partial
from watchkeeper.agents.incidents import Incidents, Status
from watchkeeper.agents.remediator.execute import Executor
from watchkeeper.core.actions import Change
from watchkeeper.core.claims import Claim, EffectPhase
from watchkeeper.policies.claims import Claims

log = structlog.get_logger(__name__)

IDLE = (Status.ESCALATED, Status.CLOSED)


class Reconciler:
    def __init__(self, claims: Claims, incidents: Incidents, executor: Executor, holder: str) -> None:
        self._claims, self._incidents, self._executor, self._holder = claims, incidents, executor, holder

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
                settled += 1
        return settled

    async def _change(self, claim: Claim) -> Change | None:
        """What the claim was to do; a release step's exact values are not kept, so it is left to a person."""
        plan = await self._incidents.plan(claim.incident, claim.plan)
        if plan is None or claim.phase is EffectPhase.RELEASE:
            return None
        change = plan.changes[claim.step]
        return change if claim.phase is EffectPhase.APPLY else partial(change, 0.0, 1.0)
