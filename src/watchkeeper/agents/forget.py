"""What is kept of a closed incident for going on with it is forgotten after a while: its steps and its checkpoints.

The ledger has its story, and the incident's row and findings stay. An incident of which an effect is still open, or a
remedy in force, is kept whole.
"""

from __future__ import annotations

from datetime import timedelta

import structlog
from langgraph.checkpoint.base import BaseCheckpointSaver

from watchkeeper.agents.incidents import Incidents
from watchkeeper.core.clock import Clock
from watchkeeper.core.ids import IncidentId
from watchkeeper.policies.claiming.claims import Claims
from watchkeeper.policies.remedies import Remedies
from watchkeeper.store.engine import Store

log = structlog.get_logger(__name__)

KEEP = timedelta(days=1)
"""How long after its end an incident could still be gone on with, say by hand after a restored backup."""


class Forgetter:
    def __init__(
        self,
        store: Store,
        incidents: Incidents,
        claims: Claims,
        remedies: Remedies,
        saver: BaseCheckpointSaver[str],
        clock: Clock,
    ) -> None:
        self._store, self._incidents, self._claims, self._remedies = store, incidents, claims, remedies
        self._saver, self._clock = saver, clock

    async def run_once(self) -> int:
        """Forgets what is due, a bounded number at a time; returns of how many incidents."""
        forgotten = 0
        for incident in await self._incidents.spent(self._clock.now() - KEEP):
            if await self._owed(incident):
                continue
            # the checkpoints first: a crash before the steps are gone finds the incident again
            await self._saver.adelete_thread(incident)
            async with self._store.write() as tx:
                await self._incidents.forget_steps(tx, incident)
                await self._claims.forget_refusals(tx, incident)
            forgotten += 1
        if forgotten:
            log.info("closed_incidents_forgotten", incidents=forgotten)
        return forgotten

    async def _owed(self, incident: IncidentId) -> bool:
        async with self._store.read() as tx:
            return await self._claims.unsettled(tx, incident) or await self._remedies.holds(tx, incident)
