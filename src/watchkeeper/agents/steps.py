"""Each step of an incident is taken once, whatever LangGraph replays.

A node of the graph may run again after a crash: checkpoints order neither their own writes nor ours. So a step's
result, the ledger entries it makes and the rows it changes are written in one transaction under `(incident, step)`;
a second run finds the row and returns it. What a step *reads* may have been read twice; that harms nothing.
It guarantees nothing about effects on targets: those go through the executor's claims.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.agents.incidents import hold
from watchkeeper.agents.tables import incident_step
from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.clock import Clock
from watchkeeper.core.ids import IncidentId
from watchkeeper.core.model import Contract
from watchkeeper.store import leases
from watchkeeper.store.engine import Store
from watchkeeper.store.leases import Lease

Result = TypeVar("Result", bound=Contract)


class Steps:
    """The steps of one incident, driven by the holder of that incident's lease."""

    def __init__(self, store: Store, clock: Clock, incident: IncidentId, lease: Lease) -> None:
        self._store, self._clock, self._incident, self._lease = store, clock, incident, lease

    async def recorded(self, step: str, model: type[Result]) -> Result | None:
        async with self._store.read() as tx:
            row = (await tx.execute(self._query(step))).one_or_none()
        return None if row is None else model.model_validate_json(row.result)

    async def once(
        self,
        step: str,
        model: type[Result],
        compute: Callable[[], Awaitable[Result]],
        write: Callable[[AsyncConnection, Result], Awaitable[None]],
    ) -> Result:
        """`compute` reads and thinks; `write` records, in the transaction that marks the step as taken.

        Raises ConflictError if the incident's lease has passed to another process meanwhile.
        """
        known = await self.recorded(step, model)
        if known is not None:
            return known
        result = await compute()
        try:
            async with self._store.write() as tx:
                await leases.check(tx, self._lease)
                await hold(tx, self._incident)
                await tx.execute(
                    insert(incident_step).values(
                        incident=self._incident, step=step, result=canonical_model(result), at=self._clock.now()
                    )
                )
                await write(tx, result)
        except IntegrityError:
            known = await self.recorded(step, model)
            if known is None:
                raise
            return known
        return result

    def _query(self, step: str):  # type: ignore[no-untyped-def]  # the Select's row type is spelled in the table
        return select(incident_step.c.result).where(
            incident_step.c.incident == self._incident, incident_step.c.step == step
        )
