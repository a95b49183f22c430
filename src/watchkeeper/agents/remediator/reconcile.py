"""Effects that were left open (a crash, a reply that never came, a stop) are observed until they are settled.

The incident's own nodes reconcile what they wait for; this is for claims that nobody drives any more. It sends nothing.
"""

from __future__ import annotations

import structlog

from watchkeeper.adapters.change import partial
from watchkeeper.agents.incidents import Incidents, Status
from watchkeeper.agents.remediator.execute import Executor
from watchkeeper.agents.remedies import give_back, put_in_force, remedy_ttl_s
from watchkeeper.agents.scores import Deed, scored
from watchkeeper.core.claims import Claim, EffectPhase
from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import UnavailableError, WatchkeeperError
from watchkeeper.core.outcomes import Effect
from watchkeeper.core.plans import Plan
from watchkeeper.core.remedies import HELD
from watchkeeper.policies.claiming.claims import Claims
from watchkeeper.policies.remedies import Remedies
from watchkeeper.policies.trust.service import Trust

log = structlog.get_logger(__name__)

IDLE = (Status.ESCALATED, Status.CLOSED)


class Reconciler:
    def __init__(
        self,
        claims: Claims,
        incidents: Incidents,
        remedies: Remedies,
        trust: Trust,
        executor: Executor,
        clock: Clock,
        holder: str,
    ) -> None:
        self._claims, self._incidents, self._remedies = claims, incidents, remedies
        self._trust, self._executor, self._clock, self._holder = trust, executor, clock, holder

    async def run_once(self) -> int:
        """Looks at every open claim of incidents that wait for a person; returns how many were settled."""
        settled = 0
        for claim in await self._claims.open_claims():
            try:
                settled += await self._look(claim)
            except UnavailableError:
                raise
            except WatchkeeperError as error:  # one that cannot be settled must not hold up the others
                log.warning("open_effect_not_observed", key=claim.key, code=error.code, what=error.what)
        return settled

    async def _look(self, claim: Claim) -> bool:
        """Settles one claim together with what follows from it, unless its incident is being driven."""
        if (await self._incidents.get(claim.incident)).status not in IDLE:
            return False
        plan = await self._incidents.plan(claim.incident, claim.plan)
        record = await self._incidents.decision(claim.incident, claim.decision)
        if plan is None or record is None:
            return False
        of_step = [each for each in await self._remedies.of_incident(claim.incident) if each.step == claim.step]
        known = of_step[-1] if of_step else None
        if claim.phase is EffectPhase.APPLY:
            change = plan.changes[claim.step] if known is None else partial(known.change, known.given_back, 0.0)
            ttl_s = remedy_ttl_s(plan, record)
            also = put_in_force(self._remedies, plan, claim.step, ttl_s, known, self._clock.now)
        elif known is None or known.status not in HELD:
            return False
        else:
            factor = 1.0 if claim.phase is EffectPhase.UNDO else _factor(claim, plan)
            change = partial(known.change, known.given_back, factor)
            also = give_back(self._remedies, known, factor, claim.phase.value)
        also = scored(self._trust, Deed(plan, record), claim.step, also)
        outcome = await self._executor.reconcile(claim.key, change, self._holder, also)
        if outcome is None or outcome.effect is Effect.UNKNOWN:
            return False
        log.info("open_effect_observed", key=claim.key, effect=outcome.effect)
        return True


def _factor(claim: Claim, plan: Plan) -> float:
    """How much this release step gives back: its key tells which repetition of the steps it is."""
    steps = (1.0,) if plan.release is None else plan.release.steps
    n = claim.key.rpartition(f"/{claim.phase}")[2].removeprefix("/")
    return steps[int(n or 0) % len(steps)]
