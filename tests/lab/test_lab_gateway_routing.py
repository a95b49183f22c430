"""Where calls go: weights, retries, fallbacks, provider faults, and models that cannot be managed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tests.testbed.labs import LabGateway, open_gateway

from watchkeeper.lab.gateway.router import RouterSettings
from watchkeeper.lab.provider import ProviderMode


async def served_by(lab: LabGateway, key: str, calls: int = 12) -> Counter[str]:
    return Counter([(await lab.chat(key)).headers.get("x-litellm-model-id", "none") for _ in range(calls)])


async def test_weight_zero_moves_all_traffic_and_back(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        key = await lab.key("k")
        assert await served_by(lab, key) == {"dep-a": 12}
        for model, weight in (("dep-a", 0), ("dep-b", 1)):
            patched = await lab.admin.patch(f"/model/{model}/update", json={"litellm_params": {"weight": weight}})
            assert patched.status_code == 200
        assert await served_by(lab, key) == {"dep-b": 12}
        replaced = {"model_info": {"id": "dep-a"}, "litellm_params": {"weight": 5, "model": "openai/gpt-4.1"}}
        assert (await lab.admin.post("/model/update", json=replaced)).status_code == 200
        assert set(await served_by(lab, key, 40)) == {"dep-a", "dep-b"}


async def test_a_null_weight_is_ignored_as_the_real_proxy_ignores_it(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        await lab.admin.patch("/model/dep-a/update", json={"litellm_params": {"weight": None}})
        assert lab.gateway.store.models["dep-a"].weight == 1


@pytest.mark.parametrize(("mode", "status"), [(ProviderMode.BROKEN, 500), (ProviderMode.RATE_LIMITED, 429)])
async def test_a_provider_fault_persists_until_cleared(tmp_path: Path, mode: ProviderMode, status: int) -> None:
    async with open_gateway(tmp_path) as lab:
        key = await lab.key("k")
        lab.break_provider(0, mode)
        assert [(await lab.chat(key)).status_code for _ in range(30)] == [status] * 30
        assert 'litellm_deployment_state{litellm_model_name="gpt-4.1",model_id="dep-a"' in (
            metrics := (await lab.admin.get("/metrics/")).text
        )
        assert f'exception_status="{status}"' in metrics
        lab.break_provider(0, ProviderMode.OK)
        assert (await lab.chat(key)).status_code == 200


async def test_retries_stay_in_the_group_and_are_counted(tmp_path: Path) -> None:
    async with open_gateway(tmp_path, router=RouterSettings(num_retries=2)) as lab:
        key = await lab.key("k")
        lab.break_provider(0, ProviderMode.BROKEN)
        assert (await lab.chat(key)).status_code == 500
        assert lab.providers[0].status().requests == 3
        assert lab.providers[1].status().requests == 0


async def test_a_blocked_deployment_gets_nothing(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        key = await lab.key("k")
        blocked = await lab.admin.post("/model/block", json={"model_id": "dep-a"})
        assert blocked.json()["blocked"] is True
        assert await served_by(lab, key, 5) == {"dep-b": 5}
        await lab.admin.post("/model/unblock", json={"model_id": "dep-a"})
        assert await served_by(lab, key, 5) == {"dep-a": 5}


async def test_cooldown_drains_a_failing_deployment_when_it_is_asked_for(tmp_path: Path) -> None:
    async with open_gateway(tmp_path, router=RouterSettings(num_retries=1, cooldown_s=60)) as lab:
        key = await lab.key("k")
        lab.break_provider(0, ProviderMode.BROKEN)
        assert await served_by(lab, key, 5) == {"dep-b": 5}
        assert (await lab.admin.get("/metrics/")).text.count("litellm_deployment_cooled_down_total{") == 1


async def test_a_fallback_serves_and_is_removed_again(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        key = await lab.key("k")
        lab.break_provider(0, ProviderMode.BROKEN)
        rule = {"model": "chat-main", "fallback_models": ["chat-spare"], "fallback_type": "general"}
        created = await lab.admin.post("/fallback", json=rule)
        assert created.json() == {**rule, "message": "Fallback configuration created successfully"}
        assert (await lab.admin.get("/fallback/chat-main")).json() == rule
        served = await lab.chat(key)
        assert (served.status_code, served.headers["x-litellm-model-group"]) == (200, "chat-spare")
        assert served.headers["x-litellm-attempted-fallbacks"] == "1"
        assert (await lab.admin.delete("/fallback/chat-main")).status_code == 200
        assert (await lab.admin.get("/fallback/chat-main")).status_code == 404
        assert (await lab.chat(key)).status_code == 500


async def test_bad_fallbacks_are_refused_in_the_shape_of_the_real_proxy(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        unknown = await lab.admin.post("/fallback", json={"model": "nope", "fallback_models": ["chat-spare"]})
        assert (unknown.status_code, unknown.json()["detail"]["error"]) == (404, "Model 'nope' not found in router")
        own = await lab.admin.post("/fallback", json={"model": "chat-main", "fallback_models": ["chat-main"]})
        assert own.status_code == 400
        assert lab.gateway.store.fallbacks == {}


async def test_a_model_from_the_configuration_file_cannot_be_managed(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        listed = (await lab.admin.get("/model/info")).json()["data"]
        flags = {row["model_info"]["id"]: row["model_info"]["db_model"] for row in listed}
        assert flags == {"dep-yaml": False, "dep-a": True, "dep-b": True, "dep-c": True}
        patched = await lab.admin.patch("/model/dep-yaml/update", json={"litellm_params": {"weight": 0}})
        assert patched.status_code == 400
        assert patched.json()["error"]["message"].startswith("Cannot edit config-based model.")
        replaced = await lab.admin.post(
            "/model/update", json={"model_info": {"id": "dep-yaml"}, "litellm_params": {"model": "x", "weight": 0}}
        )
        assert replaced.status_code == 400
        assert (await lab.admin.post("/model/delete", json={"id": "dep-yaml"})).status_code == 400
        assert [entry.status for entry in lab.journal("/model/dep-yaml/update")] == [400]
        assert (await lab.chat(await lab.key("k"), model="chat-yaml")).status_code == 200


async def test_models_come_and_go_through_the_api(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        api_base = lab.gateway.store.models["dep-b"].api_base
        request = {
            "model_name": "chat-new",
            "litellm_params": {"model": "openai/x", "api_base": api_base, "api_key": "sk-provider"},
        }
        created = (await lab.admin.post("/model/new", json=request)).json()
        assert (created["model_info"]["db_model"], created["litellm_params"]["api_base"]) == (False, "encrypted")
        key = await lab.key("k")
        assert (await lab.chat(key, model="chat-new")).status_code == 200
        assert (await lab.admin.post("/model/delete", json={"id": created["model_id"]})).status_code == 200
        assert (await lab.chat(key, model="chat-new")).status_code == 403
        assert "sk-provider" not in lab.gateway.store.journal.path.read_text()
