"""The production database with its roles apart: one incident, handled by a daemon that may append and no more."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import JsonValue
from tests.testbed import rig, worlds
from tests.testbed.grants import grant, policy
from tests.testbed.scene import outage_is_handled, scene
from tests.testbed.stores import ThreeRoles

pytestmark = [pytest.mark.peer, pytest.mark.timeout(240)]

POLICY = policy(grant("fail-over-provider", ["shift_traffic"], ["deployment"], environment="bench"))


def test_e2e_an_outage_is_handled_by_a_daemon_that_owns_nothing(tmp_path: Path, three_roles: ThreeRoles) -> None:
    at = rig.address(tmp_path)
    pace: JsonValue = {"window_s": 6, "horizons_s": [12], "hold_s": 1, "release_steps": [1], "watch_s": 4}
    database: JsonValue = dict(three_roles.settings)
    sight: rig.Sight = {"database": database, "runbooks": {"overrides": {"fail-over-provider": pace}}}
    with (
        worlds.lab(tmp_path, at, seed=5, batch_write_s=1.0) as world,
        scene(at, world, POLICY, sight) as on,
    ):
        assert on.api.get("/v1/status")["guarding"] == "triggers_and_roles"
        ended = outage_is_handled(on)
        # by the pruner's role: the daemon's may not delete
        erased = on.api.post("/v1/ledger/evidence/erase", {"incident": ended["id"], "reason": "asked for"})
        assert len(erased["entries"]) == 1
        left = on.api.post("/v1/ledger/evidence/erase", {"incident": ended["id"], "dry_run": True})
        assert left["found"] == []
        assert on.ledger_holds()
    assert "may not do this" not in (tmp_path / "daemon.log").read_text()
