"""Which incidents are kept whole in the ledger: those that are not over, and those that may still be needed.

An incident is needed while it is open, while an effect of it is not settled, and while a remedy of it is in force.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.agents.incidents import Status
from watchkeeper.agents.tables import incident
from watchkeeper.policies.claiming.claims import Claims
from watchkeeper.policies.remedies import Remedies


class HeldIncidents:
    def __init__(self, claims: Claims, remedies: Remedies) -> None:
        self._claims, self._remedies = claims, remedies

    async def __call__(self, tx: AsyncConnection) -> frozenset[str]:
        open_ones = (await tx.execute(select(incident.c.id).where(incident.c.status != Status.CLOSED))).scalars()
        unsettled = await self._claims.incidents_unsettled(tx)
        return frozenset(open_ones) | unsettled | await self._remedies.incidents_holding(tx)
