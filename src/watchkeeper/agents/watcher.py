"""One incident in the hands of its nodes: the crew, the recorded steps, and the small moves every node makes.

It keeps nothing: what it answers is what steps and rows say now. That a step is taken once is for `Steps`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.agents.crew import Crew
from watchkeeper.agents.incidents import Status
from watchkeeper.agents.records import Decided, Done, Proposed
from watchkeeper.agents.scores import Deed, succeeded
from watchkeeper.agents.state import WatchState
from watchkeeper.agents.steps import Steps
from watchkeeper.core.diagnosis import Diagnosis
from watchkeeper.core.entries import Draft, EntryType
from watchkeeper.core.errors import NotFoundError
from watchkeeper.core.ids import IncidentId
from watchkeeper.core.model import Contract
from watchkeeper.core.plans import Plan
from watchkeeper.core.remedies import Remedy


class Watcher:
    def __init__(self, crew: Crew, incident: IncidentId, steps: Steps) -> None:
        self.crew, self.incident, self.steps = crew, incident, steps

    async def plan(self, state: WatchState) -> Plan:
        """The plan of the current attempt. Raises NotFoundError if the step that made it was never recorded."""
        proposed = await self.steps.recorded(f"propose/{state.get('attempt', 0)}", Proposed)
        if proposed is None or proposed.plan is None:
            raise _lost("plan", self.incident)
        return proposed.plan

    async def decided(self, state: WatchState) -> Decided:
        decided = await self.steps.recorded(key("decide", state), Decided)
        if decided is None:
            raise _lost("decision", self.incident)
        return decided

    async def applied_at(self, state: WatchState) -> datetime:
        """When the last effect of the current cycle was settled."""
        done = await self.steps.recorded(key("execute", state), Done)
        if done is None:
            raise _lost("effect", self.incident)
        return max(effect.at for effect in done.effects)

    async def deed(self, state: WatchState) -> Deed:
        """The plan of the current attempt, to be scored. The diagnoser is so for the first apply alone: by a relapse
        the cause may have become another."""
        diagnosis = None
        if not state.get("cycle", 0):
            diagnosis = await self.steps.recorded(f"diagnose/{state.get('attempt', 0)}", Diagnosis)
        return Deed(await self.plan(state), (await self.decided(state)).record, diagnosis)

    async def done_steps(self, state: WatchState) -> tuple[int, ...]:
        """Which steps of the plan its first apply did; a later one only does them again."""
        done = await self.steps.recorded(f"execute/{state.get('attempt', 0)}/0", Done)
        return () if done is None else succeeded(done.effects)

    async def held(self) -> tuple[Remedy, ...]:
        """This incident's remedies that are still in force, in the order they were made."""
        held = [each for each in await self.crew.remedies.in_force() if each.incident == self.incident]
        return tuple(sorted(held, key=lambda each: (each.since, each.step)))

    async def append(self, tx: AsyncConnection, kind: EntryType, data: Contract) -> None:
        await self.crew.ledger.append(tx, Draft(type=kind, subject=self.incident, data=data))

    async def status(self, tx: AsyncConnection, status: Status) -> None:
        await self.crew.incidents.set_status(tx, self.incident, status)

    def wait(self, seconds: float, after: str) -> WatchState:
        return self.wait_until(self.crew.now() + timedelta(seconds=seconds), after)

    def wait_until(self, until: datetime, after: str) -> WatchState:
        return {"next": "wait", "wait_until": until.isoformat(), "after": after}


def key(node: str, state: WatchState) -> str:
    """The step of a node that runs once per attempt and cycle."""
    return f"{node}/{state.get('attempt', 0)}/{state.get('cycle', 0)}"


def _lost(what: str, incident: IncidentId) -> NotFoundError:
    return NotFoundError(
        f"the recorded {what} of {incident} is not in the database",
        cause="the checkpoint file and the database are of different times: one was restored without the other",
        next_step=f"watchkeeper ledger show {incident}",
    )
