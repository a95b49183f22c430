"""The real LiteLLM 1.106.2 without a database: what is seen cannot be acted on, and a person is told what to move.

Judged by what the gateway lists before and after, by its own log of requests, and by the webhook that came.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue
from tests.testbed import rig, worlds
from tests.testbed.grants import grant, policy
from tests.testbed.polling import eventually
from tests.testbed.receiver import Receiver
from tests.testbed.scene import Scene, scene
from tests.testbed.upstream import Mode

pytestmark = [pytest.mark.peer, pytest.mark.timeout(300), pytest.mark.usefixtures("litellm_installation")]

POLICY = policy(
    grant("fail-over-provider", ["shift_traffic", "set_fallback"], ["deployment", "model_group"], environment="bench")
)
"""Policy would let it act alone: what holds it back is the gateway."""


def recorded_requests(on: Scene[worlds.YamlOnly], incident: str) -> list[dict[str, Any]]:
    """The requests of the incident, as the ledger's evidence has them."""
    calls = [step for step in on.story(incident) if step["type"] == "dev.watchkeeper.call.v1"]
    assert all(step["data"]["claim"] is None for step in calls)
    return [json.loads(each["text"]) for step in calls for each in step["evidence"] if each["kind"] == "request"]


def test_e2e_what_yaml_fixes_is_left_alone_and_a_person_is_told_what_to_move(
    tmp_path: Path, receiver: Receiver
) -> None:
    at = rig.address(tmp_path)
    notify: JsonValue = [{"name": "pager", "url": f"{receiver.url}/pager"}]
    with (
        worlds.yaml_only(tmp_path, seed=7) as world,
        scene(at, world, POLICY, {"notify": notify}) as on,
    ):
        eventually(lambda: on.api.get("/v1/status")["health"]["sources"].get("gateway") == "ok", timeout_s=60)
        before = world.state()
        world.main.mode = Mode.SERVER_ERROR
        found = eventually(lambda: on.incident("provider_outage", "escalated"), timeout_s=90)
        (escalation,) = on.told(found["id"], "escalation.v1")
        assert escalation["reason"] == "no_plan_model_in_yaml"
        assert escalation["notified"] == ["pager"]

        (delivery,) = receiver.wait_for(lambda seen: len(seen) == 1)
        notice = json.loads(delivery.body)
        assert (notice["kind"], notice["reason"]) == ("escalation", "no_plan_model_in_yaml")
        assert (notice["service"], notice["incident"]) == ("chat", found["id"])
        for told, name in zip(notice["to_change"], (worlds.STANDBY, worlds.MAIN), strict=True):
            assert told.startswith(f"litellm:gateway/deployment/{name} (model_in_yaml): ")
            assert all(words in told for words in ("config.yaml", "take it out of model_list", "POST /model/new"))
        assert (notice["proposed"], notice["half_done"]) == ([], [])

        world.main.mode = Mode.OK
        ended = eventually(lambda: on.incident("provider_outage", "closed"), timeout_s=90)
        assert ended["resolution"] == "no_plan_model_in_yaml"
        assert on.told(found["id"], "incident.closed.v1") == [
            {"incident": found["id"], "resolution": "no_plan_model_in_yaml"}
        ]
        assert len(on.incidents()) == 1
        kinds = {step["type"].removeprefix("dev.watchkeeper.") for step in on.story(found["id"])}
        assert kinds == {
            "incident.opened.v1",
            "finding.v1",
            "diagnosis.v1",
            "call.v1",
            "escalation.v1",
            "incident.closed.v1",
        }
        asked = recorded_requests(on, found["id"])
        assert "/model/info" in {each["path"] for each in asked}
        assert {each["method"] for each in asked} == {"GET"}
        assert {path for method, path in world.requests() if method != "GET"} == {"/v1/chat/completions"}
        assert world.state() == before
        assert on.ledger_holds()
