"""The production database: one incident in the lab, handled by a daemon on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import JsonValue
from sqlalchemy import text
from tests.testbed import rig, worlds
from tests.testbed.grants import grant, policy
from tests.testbed.scene import outage_is_handled, scene

from watchkeeper.store.engine import Store

pytestmark = [pytest.mark.peer, pytest.mark.timeout(240)]

POLICY = policy(grant("fail-over-provider", ["shift_traffic"], ["deployment"], environment="bench"))


async def test_e2e_an_outage_is_handled_on_postgresql(tmp_path: Path, pg_url: str) -> None:
    at = rig.address(tmp_path)
    pace: JsonValue = {"window_s": 6, "horizons_s": [12], "hold_s": 1, "release_steps": [1], "watch_s": 4}
    sight: rig.Sight = {"database": {"url": pg_url}, "runbooks": {"overrides": {"fail-over-provider": pace}}}
    with (
        worlds.lab(tmp_path, at, seed=5, batch_write_s=1.0) as world,
        scene(at, world, POLICY, sight) as on,
    ):
        outage_is_handled(on)
        again = on.api.post("/v1/ledger/replay")
        assert (again["differed"], again["not_recomputable"], again["altered"]) == ([], [], [])
        assert {each["kind"].split(".")[-2] for each in again["kinds"]} == {"finding", "diagnosis", "decision"}
    store = Store(pg_url)
    async with store.read() as tx:
        kept = (await tx.execute(text("SELECT count(*) FROM langgraph.checkpoints"))).scalar_one()
    await store.close()
    assert kept > 5
