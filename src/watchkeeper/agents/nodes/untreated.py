"""What became of a trouble that a plan in shadow would have treated: read when the plan would have been judged.

With the plan's own indicator and guards, so that treated and untreated are held to one measure. A daemon that was down
at that time reads late, which may see more recoveries than there were in time, never fewer.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.agents.nodes.verify import read_outcome
from watchkeeper.agents.records import Checked, Decided
from watchkeeper.agents.state import WatchState
from watchkeeper.agents.watcher import Watcher, key
from watchkeeper.core.decisions import Verdict


async def look_untreated(watch: Watcher, state: WatchState) -> datetime | None:
    """When it is to be read; None: there is nothing to read, or no more."""
    decided = await watch.steps.recorded(key("decide", state), Decided)
    if decided is None or decided.record.decision.verdict is not Verdict.SHADOW:
        return None
    step = f"untreated/{state.get('attempt', 0)}"
    if await watch.steps.recorded(step, Checked) is not None:
        return None
    plan = await watch.plan(state)
    horizon_s = plan.verification.horizons_s[-1]
    due = decided.record.input.at + timedelta(seconds=horizon_s)
    if watch.crew.now() < due:
        return due

    async def look() -> Checked:
        return read_outcome(watch, plan, horizon_s)

    async def write(tx: AsyncConnection, checked: Checked) -> None:
        return None  # it is scored when the incident ends

    await watch.steps.once(step, Checked, look, write)
    return None
