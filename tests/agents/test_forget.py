"""What a closed incident leaves behind is forgotten after a day; what an effect still hangs on is not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from sqlalchemy import func, insert, select
from tests.testbed.authority import Authority, a_plan, a_remedy
from tests.testbed.findings import loop

from watchkeeper.agents.checkpoints import sqlite_checkpoints
from watchkeeper.agents.forget import KEEP, Forgetter
from watchkeeper.agents.graph import thread
from watchkeeper.agents.incidents import Incidents
from watchkeeper.agents.tables import incident_step
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.outcomes import Effect
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.store.engine import Store


async def steps(store: Store) -> int:
    async with store.read() as tx:
        return int((await tx.execute(select(func.count()).select_from(incident_step))).scalar_one())


@pytest.mark.parametrize("owed", ["nothing", "an open effect", "a remedy"])
async def test_invariant_10_steps_and_checkpoints_of_closed_incidents_are_forgotten(
    store: Store, tmp_path: Path, owed: str
) -> None:
    clock = ManualClock()
    authority = Authority(store, clock)
    incidents = Incidents(store, authority.ledger, Evidence(store, clock=clock), clock)
    incident = await incidents.open(loop(), b"{}")
    plan = a_plan(incident=incident)
    if owed != "nothing":
        claim = await authority.taken(plan)
        if owed == "a remedy":
            await authority.claims.settle(claim, Effect.SUCCEEDED, "http_200")
    async with store.write() as tx:
        row = {"incident": incident, "step": "propose/0", "result": b"{}", "at": clock.now()}
        await tx.execute(insert(incident_step).values(**row))
        if owed == "a remedy":
            await authority.remedies.record(tx, a_remedy(plan, clock.now()))
        await incidents.close(tx, incident, "recovered")
    async with sqlite_checkpoints(tmp_path / "checkpoints.db") as saver:
        config = thread(incident)
        config["configurable"]["checkpoint_ns"] = ""
        await saver.aput(config, empty_checkpoint(), {}, {})
        forgetter = Forgetter(store, incidents, authority.claims, authority.remedies, saver, clock)
        assert await forgetter.run_once() == 0, "not so soon"
        clock.advance((KEEP + timedelta(seconds=1)).total_seconds())
        forgotten = owed == "nothing"
        assert await forgetter.run_once() == forgotten
        assert await steps(store) == (not forgotten)
        assert (await saver.aget(thread(incident)) is None) is forgotten
        assert await forgetter.run_once() == 0
    assert await incidents.findings(incident), "the incident itself is known for ever"
