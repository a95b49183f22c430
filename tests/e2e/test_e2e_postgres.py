"""The production database: one incident in the lab, handled by a daemon on PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bench import rig, worlds
from pydantic import JsonValue
from sqlalchemy import text
from tests.e2e.test_e2e_litellm import closed, eventually, ledger_holds, outcomes

from watchkeeper.store.engine import Store

pytestmark = [pytest.mark.peer, pytest.mark.timeout(240)]


async def test_e2e_an_outage_is_handled_on_postgresql(tmp_path: Path, pg_url: str) -> None:
    at = rig.address(tmp_path)
    pace: JsonValue = {"window_s": 6, "horizons_s": [12], "hold_s": 1, "release_steps": [1], "watch_s": 4}
    runbooks: JsonValue = {"overrides": {"fail-over-provider": pace}}
    sight: dict[str, JsonValue] = {**rig.FAST, "database": {"url": pg_url}, "runbooks": runbooks}
    with worlds.lab(tmp_path, at, seed=5, batch_write_s=1.0) as world, rig.daemon(at, world.watched, sight) as daemon:
        eventually(lambda: daemon.api.get("/v1/status")["health"]["sources"].get("gateway") == "ok", "source", 20)
        world.break_provider(True)
        (held, *_) = eventually(lambda: daemon.api.get("/v1/remedies"), "remedy", 60)
        eventually(lambda: outcomes(daemon.api, held["incident"])[-1:] == ["recovered"], "recovery", 60)
        world.break_provider(False)
        ended: dict[str, Any] = eventually(lambda: closed(daemon.api, "provider_outage"), "close", 90)
        assert ended["resolution"] == "recovered"
        assert ledger_holds(daemon.api)
    store = Store(pg_url)
    async with store.read() as tx:
        kept = (await tx.execute(text("SELECT count(*) FROM langgraph.checkpoints"))).scalar_one()
    await store.close()
    assert kept > 5
