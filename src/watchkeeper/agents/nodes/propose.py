"""propose: a plan from diagnosis and runbooks, or the one that a person made of the last; or a person."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.agents.records import Proposed
from watchkeeper.agents.state import WatchState
from watchkeeper.agents.watcher import Watcher
from watchkeeper.core.agents import Usage
from watchkeeper.core.diagnosis import Diagnosis
from watchkeeper.core.entries import EntryType
from watchkeeper.core.ids import ApprovalId


async def propose(watch: Watcher, state: WatchState) -> WatchState:
    attempt = state.get("attempt", 0)
    diagnosis = await watch.steps.recorded(f"diagnose/{attempt}", Diagnosis)

    began = watch.crew.clock.monotonic()

    async def plan() -> Proposed:
        edited = state.get("edited", "")
        if edited:
            return Proposed(plan=await watch.crew.edits.of(ApprovalId(edited)), refused=("no_edit",))
        findings = await watch.crew.incidents.findings(watch.incident)
        incident = await watch.crew.incidents.get(watch.incident)
        if diagnosis is None:
            return Proposed(plan=None, refused=("no_diagnosis",))
        return await watch.crew.planner.propose(watch.incident, incident.scope, diagnosis, findings, watch.crew.now())

    async def write(tx: AsyncConnection, proposed: Proposed) -> None:
        if proposed.plan is not None:
            await watch.append(tx, EntryType.PLAN, proposed.plan)
            used = Usage(iterations=1, wall_s=watch.crew.clock.monotonic() - began)
            await watch.crew.usage.add(tx, proposed.plan.remediator, used)

    proposed = await watch.steps.once(f"propose/{attempt}", Proposed, plan, write)
    if proposed.plan is None:
        reason = proposed.refused[-1].rpartition(": ")[2]
        return {"next": "escalate", "reason": f"no_plan_{reason}"[:80]}
    return {"next": "decide", "edited": ""}
