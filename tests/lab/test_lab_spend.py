"""The spend log and the metrics: LiteLLM's columns, batches, filters, and one row for each call."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import JsonValue
from tests.testbed.labs import open_gateway

from watchkeeper.lab.gateway.rows import key_hash
from watchkeeper.lab.provider import ProviderMode

SHAPES = json.loads((Path(__file__).parent / "litellm_shapes.json").read_text())


async def test_rows_have_the_columns_of_the_real_proxy(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        key = await lab.key("k")
        answer = await lab.chat(key, prompt="x" * 80, max_tokens=7)
        (row,) = await lab.spend_rows()
        assert set(row) == set(SHAPES["spend_logs_v2_row"])
        metadata = row["metadata"]
        assert isinstance(metadata, dict)
        assert set(metadata) <= set(SHAPES["spend_logs_v2_metadata"])
        assert row["request_id"] == answer.json()["id"]
        assert row["litellm_call_id"] == answer.headers["x-litellm-call-id"]
        assert row["model_id"] == answer.headers["x-litellm-model-id"]
        assert (row["prompt_tokens"], row["completion_tokens"], row["total_tokens"]) == (20, 7, 27)
        assert row["spend"] == 20 * 0.01 + 7 * 0.1
        assert (row["api_key"], row["status"]) == (key_hash(key), "success")
        assert metadata["user_api_key_alias"] == "k"


async def test_keys_and_models_have_the_fields_of_the_real_proxy(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        key = await lab.key("k")
        info = (await lab.admin.get("/key/info", params={"key": key})).json()["info"]
        assert set(SHAPES["key_info_used"]) <= set(info)
        listed = (await lab.admin.get("/key/list", params={"return_full_object": "true"})).json()
        assert set(listed) == set(SHAPES["key_list"])
        models = (await lab.admin.get("/model/info")).json()["data"]
        assert ["blocked" in row["model_info"] for row in models] == [row["model_info"]["db_model"] for row in models]
        model = models[0]
        assert set(model) == set(SHAPES["model_info_row"])
        spend = (await lab.admin.get("/global/spend/keys")).json()
        assert set(spend[0]) == set(SHAPES["global_spend_keys_row"])


async def test_a_row_shows_after_its_batch_and_the_key_is_charged_with_it(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        key = await lab.key("k")
        await lab.chat(key)
        window = {"start_date": "2020-01-01 00:00:00", "end_date": "2099-01-01 00:00:00"}
        assert (await lab.admin.get("/spend/logs/v2", params=window)).json()["total"] == 0
        assert lab.gateway.store.keys[key_hash(key)].spend == 0
        lab.gateway.spend.flush()
        assert (await lab.admin.get("/spend/logs/v2", params=window)).json()["total"] == 1
        assert lab.gateway.store.keys[key_hash(key)].spend > 0


def error_of(row: dict[str, JsonValue]) -> dict[str, JsonValue]:
    metadata = row["metadata"]
    assert isinstance(metadata, dict)
    error = metadata["error_information"]
    assert isinstance(error, dict)
    return error


async def test_failures_are_rows_too_and_tell_own_limits_from_the_providers(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        limited, unlucky = await lab.key("limited", rpm_limit=0), await lab.key("unlucky")
        lab.break_provider(0, ProviderMode.RATE_LIMITED)
        refusal = await lab.chat(limited)
        await lab.chat(unlucky)
        rows = {str(row["api_key"]): row for row in await lab.spend_rows(status_filter="failure")}
        own, theirs = rows[key_hash(limited)], rows[key_hash(unlucky)]
        assert (own["model_id"], own["model_group"], own["model"]) == ("", "", "chat-main")
        assert (theirs["model_id"], theirs["model_group"], theirs["model"]) == ("dep-a", "chat-main", "openai/gpt-4.1")
        assert own["request_id"] == own["litellm_call_id"] == refusal.headers["x-litellm-call-id"]
        assert set(error_of(own)) == set(error_of(theirs)) == set(SHAPES["error_information"])
        classes = [(error_of(row)["error_class"], error_of(row)["error_rate_limit_category"]) for row in (own, theirs)]
        assert classes == [("ProxyRateLimitError", "litellm_rate_limit"), ("RateLimitError", "vendor_rate_limit")]
        assert own["spend"] == theirs["spend"] == 0


async def test_the_error_code_is_the_upstreams_own_and_the_normalized_one_is_not(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        key = await lab.key("k")
        lab.break_provider(0, ProviderMode.BROKEN)
        await lab.chat(key)
        (row,) = await lab.spend_rows()
        assert error_of(row)["error_code"] == "server_error"
        assert error_of(row)["normalized_error"] == "500_PROVIDER_INTERNAL_ERROR"


async def test_a_failure_that_a_fallback_heals_leaves_one_success_row(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        key = await lab.key("k")
        lab.break_provider(0, ProviderMode.BROKEN)
        await lab.admin.post("/fallback", json={"model": "chat-main", "fallback_models": ["chat-spare"]})
        await lab.chat(key)
        (row,) = await lab.spend_rows()
        metadata = row["metadata"]
        assert isinstance(metadata, dict)
        assert (row["status"], row["model_group"], metadata["status"]) == ("success", "chat-spare", None)
        assert (metadata["attempted_fallbacks"], metadata["original_model_group"]) == (1, "chat-main")
        text = (await lab.admin.get("/metrics/")).text
        assert 'requested_model="chat-main",fallback_model="chat-spare",exception_status="500"' in text


async def test_refusals_before_the_call_name_no_call_id(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        poor, blocked = await lab.key("poor", max_budget=0), await lab.key("blocked", blocked=True)
        answers = [await lab.chat(poor), await lab.chat(blocked)]
        assert [answer.status_code for answer in answers] == [422, 401]
        assert not any(name.startswith("x-litellm") for answer in answers for name in answer.headers)
        assert len(await lab.spend_rows(status_filter="failure")) == 2


async def test_a_caller_chooses_its_call_id_and_session(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        key = await lab.key("k")
        headers = {
            "authorization": f"Bearer {key}",
            "x-litellm-call-id": "call-7",
            "x-litellm-session-id": "run-7",
        }
        body = {"model": "chat-main", "messages": [{"role": "user", "content": "hi"}], "user": "u1"}
        answer = await lab.admin.post("/v1/chat/completions", json=body, headers=headers)
        assert answer.headers["x-litellm-call-id"] == "call-7"
        assert answer.json()["model"] == "chat-main"
        (row,) = await lab.spend_rows(session_id="run-7")
        assert (row["litellm_call_id"], row["session_id"], row["end_user"]) == ("call-7", "run-7", "u1")
        assert [found["request_id"] for found in await lab.spend_rows(request_id="call-7")] == [row["request_id"]]


async def test_filters_meet_and_pages_follow(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        one, two = await lab.key("one"), await lab.key("two")
        for _ in range(5):
            await lab.chat(one)
        await lab.chat(two, model="chat-yaml")
        assert len(await lab.spend_rows(api_key=key_hash(one))) == 5
        assert len(await lab.spend_rows(api_key=key_hash(one), model_group="chat-yaml")) == 0
        assert len(await lab.spend_rows(model_id="dep-yaml", key_alias="two")) == 1
        params = {"start_date": "2020-01-01", "end_date": "2099-01-01", "page": "2", "page_size": "4"}
        page = (await lab.admin.get("/spend/logs/v2", params=params)).json()
        assert {name: page[name] for name in SHAPES["spend_logs_v2_page"] if name != "data"} == {
            "total": 6,
            "page": 2,
            "page_size": 4,
            "total_pages": 2,
            "total_is_capped": False,
        }
        assert len(page["data"]) == 2
        assert (await lab.admin.get("/spend/logs/v2")).status_code == 400


async def test_metrics_carry_the_labels_of_the_real_proxy(tmp_path: Path) -> None:
    async with open_gateway(tmp_path) as lab:
        key = await lab.key("k")
        await lab.chat(key)
        await lab.update_key(key, rpm_limit=0)
        await lab.chat(key)
        text = (await lab.admin.get("/metrics", follow_redirects=True)).text
        samples = {line.partition("{")[0]: line for line in text.splitlines() if not line.startswith("#")}
        for name, labels in SHAPES["metrics"].items():
            if name in samples:
                found = {pair.partition("=")[0] for pair in samples[name].partition("{")[2].split(",")}
                assert found == set(labels), name
        assert 'exception_class="HTTPException"' in samples["litellm_proxy_failed_requests_metric_total"]
        assert samples["litellm_total_tokens_metric_total"].endswith(" 11.0")
