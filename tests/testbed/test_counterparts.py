"""Proves that each real counterpart runs here and does what the end-to-end tests rely on.

What is asserted about LiteLLM is what 1.106.2 really answers, odd as some of it is: when a new version changes it, the
adapter and the lab's gateway have to follow.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import psycopg
import pytest
from pydantic import JsonValue

from tests.testbed.litellm import BATCH_WRITE_S, Key, LiteLLM
from tests.testbed.polling import eventually
from tests.testbed.postgres import PostgresServer
from tests.testbed.prometheus import Alertmanager, Prometheus
from tests.testbed.receiver import Receiver
from tests.testbed.upstream import Mode, Upstreams

pytestmark = [pytest.mark.peer, pytest.mark.xdist_group("litellm")]


@pytest.fixture
def group(litellm: LiteLLM, upstreams: Upstreams) -> str:
    """A model group of this test alone: `<group>-a` on the first provider, `<group>-b` on the second."""
    name = f"group-{uuid4().hex[:8]}"
    litellm.admin.add_deployment(name, f"{name}-a", upstreams.first.api_base)
    litellm.admin.add_deployment(name, f"{name}-b", upstreams.second.api_base)
    return name


@pytest.fixture
def key(litellm: LiteLLM) -> Key:
    return litellm.admin.new_key(f"key-{uuid4().hex[:8]}")


def test_postgres_is_durable_and_each_database_is_empty(postgres_server: PostgresServer) -> None:
    first, second = postgres_server.fresh_database(), postgres_server.fresh_database()
    with psycopg.connect(first.dsn) as connection:
        connection.execute("CREATE TABLE mark (id int)")
        durable = [connection.execute(f"SHOW {name}").fetchone() for name in ("fsync", "synchronous_commit")]
    with psycopg.connect(second.dsn) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    for database in (first, second):
        postgres_server.drop_database(database)
    assert durable == [("on",), ("on",)]
    assert tables == (0,)


def test_chat_reaches_a_provider_and_the_spend_log_names_it(
    litellm: LiteLLM, upstreams: Upstreams, group: str, key: Key
) -> None:
    reply = litellm.admin.chat(key, group)
    assert reply.status_code == 200
    [served] = upstreams.first.requests + upstreams.second.requests
    assert reply.json()["id"] == served.answer_id
    [row] = eventually(lambda: litellm.admin.spend_rows(key), timeout_s=BATCH_WRITE_S * 10)
    assert (row["status"], row["request_id"]) == ("success", served.answer_id)
    assert row["litellm_call_id"] == reply.headers["x-litellm-call-id"]
    assert row["model_id"] == reply.headers["x-litellm-model-id"]
    assert (row["model_group"], row["prompt_tokens"], row["completion_tokens"]) == (group, 100, 50)
    assert row["spend"] == pytest.approx(100e-6 + 50 * 2e-6)


def test_a_limit_of_a_key_holds_for_that_key_alone_and_null_clears_it(
    litellm: LiteLLM, upstreams: Upstreams, group: str, key: Key
) -> None:
    other = litellm.admin.new_key(f"other-{uuid4().hex[:8]}")
    assert litellm.admin.update_key(key, rpm_limit=1)["rpm_limit"] == 1
    assert litellm.admin.chat(key, group).status_code == 200
    limited = litellm.admin.chat(key, group)
    assert limited.status_code == 429
    assert limited.headers["rate_limit_type"] == "requests"
    assert limited.json()["error"]["type"] == "throttling_error"
    assert litellm.admin.chat(other, group).status_code == 200
    litellm.admin.update_key(key, rpm_limit=None)
    assert litellm.admin.key_info(key)["rpm_limit"] is None
    assert litellm.admin.chat(key, group).status_code == 200
    assert sum(len(upstream.requests) for upstream in (upstreams.first, upstreams.second)) == 3


def test_a_spent_budget_and_a_block_refuse_the_key(litellm: LiteLLM, group: str, key: Key) -> None:
    assert litellm.admin.chat(key, group).status_code == 200
    eventually(lambda: litellm.admin.key_info(key)["spend"], timeout_s=BATCH_WRITE_S * 10)
    litellm.admin.update_key(key, max_budget=1e-7)
    spent = litellm.admin.chat(key, group)
    assert (spent.status_code, spent.json()["error"]["type"]) == (422, "budget_exceeded")
    litellm.admin.update_key(key, max_budget=None)
    assert litellm.admin.call("POST", "/key/block", key=key.hash).json()["blocked"] is True
    blocked = litellm.admin.chat(key, group)
    assert (blocked.status_code, blocked.json()["error"]["type"]) == (401, "auth_error")
    assert litellm.admin.call("POST", "/key/unblock", key=key.hash).json()["blocked"] is False
    assert litellm.admin.chat(key, group).status_code == 200


@pytest.mark.parametrize(
    ("mode", "status", "error_class", "category"),
    [
        (Mode.SERVER_ERROR, 500, "InternalServerError", None),
        (Mode.RATE_LIMIT, 429, "RateLimitError", "vendor_rate_limit"),
        (Mode.BAD_KEY, 401, "AuthenticationError", None),
    ],
)
def test_a_failing_provider_fails_its_deployment(
    litellm: LiteLLM, upstreams: Upstreams, mode: Mode, status: int, error_class: str, category: str | None, key: Key
) -> None:
    group = f"single-{uuid4().hex[:8]}"
    litellm.admin.add_deployment(group, f"{group}-a", upstreams.first.api_base)
    upstreams.first.mode = mode
    assert litellm.admin.chat(key, group).status_code == status
    assert upstreams.first.counts() == {(group, mode): 1}
    [row] = eventually(lambda: litellm.admin.spend_rows(key), timeout_s=BATCH_WRITE_S * 10)
    error = row["metadata"]["error_information"]
    assert (row["status"], row["model_id"], row["spend"]) == ("failure", f"{group}-a", 0)
    assert (error["error_class"], error["error_rate_limit_category"]) == (error_class, category)
    assert error["normalized_error"].startswith(str(status))


def test_our_own_limit_is_told_apart_from_the_providers(litellm: LiteLLM, group: str, key: Key) -> None:
    litellm.admin.update_key(key, max_parallel_requests=0)
    assert litellm.admin.chat(key, group).status_code == 429
    [row] = eventually(lambda: litellm.admin.spend_rows(key), timeout_s=BATCH_WRITE_S * 10)
    error = row["metadata"]["error_information"]
    assert (error["error_class"], error["error_rate_limit_category"]) == ("ProxyRateLimitError", "litellm_rate_limit")
    assert row["model_id"] == ""


def test_weight_zero_drains_a_deployment_and_its_old_weight_gives_it_back(
    litellm: LiteLLM, upstreams: Upstreams, group: str, key: Key
) -> None:
    def weigh(weight: int | None) -> int:
        reply = litellm.admin.call("PATCH", f"/model/{group}-a/update", litellm_params={"weight": weight})
        assert reply.status_code == 200, reply.text
        found = litellm.admin.call("GET", f"/model/info?litellm_model_id={group}-a").json()["data"]
        return int(found[0]["litellm_params"]["weight"])

    assert weigh(0) == 0
    assert {litellm.admin.chat(key, group).headers["x-litellm-model-id"] for _ in range(10)} == {f"{group}-b"}
    assert upstreams.first.requests == ()
    assert weigh(1) == 1
    assert weigh(None) == 1, "null would have to mean `no weight`, but is ignored"

    def served_by_the_first() -> bool:
        return litellm.admin.chat(key, group).headers["x-litellm-model-id"] == f"{group}-a"

    eventually(served_by_the_first, timeout_s=30)


def test_a_fallback_serves_what_the_group_cannot(litellm: LiteLLM, upstreams: Upstreams, group: str, key: Key) -> None:
    spare = f"spare-{uuid4().hex[:8]}"
    litellm.admin.add_deployment(spare, f"{spare}-b", upstreams.second.api_base)
    litellm.admin.call("PATCH", f"/model/{group}-b/update", litellm_params={"weight": 0})
    upstreams.first.mode = Mode.SERVER_ERROR
    assert litellm.admin.call("GET", f"/fallback/{group}").status_code == 404
    made = litellm.admin.call("POST", "/fallback", model=group, fallback_models=[spare], fallback_type="general")
    assert made.json()["fallback_models"] == [spare]
    reply = litellm.admin.chat(key, group)
    assert reply.status_code == 200
    assert reply.headers["x-litellm-model-id"] == f"{spare}-b"
    assert reply.headers["x-litellm-attempted-fallbacks"] == "1"
    assert litellm.admin.call("DELETE", f"/fallback/{group}").status_code == 200
    assert litellm.admin.call("GET", f"/fallback/{group}").status_code == 404


def test_the_proxy_comes_back_after_a_crash_with_what_it_knew(litellm: LiteLLM, group: str, key: Key) -> None:
    litellm.kill9()
    litellm.start()
    assert litellm.admin.chat(key, group).status_code == 200


def test_without_a_database_it_serves_and_refuses_every_change(litellm_yaml: LiteLLM, upstreams: Upstreams) -> None:
    served = litellm_yaml.admin.chat(None, "yaml-main")
    assert (served.status_code, served.headers["x-litellm-model-id"]) == (200, "yaml-a")
    assert upstreams.first.served() == 1
    [model] = litellm_yaml.admin.call("GET", "/model/info").json()["data"]
    assert model["model_info"]["db_model"] is False

    changed = litellm_yaml.admin.call("POST", "/key/update", key="0" * 64, rpm_limit=1)
    assert changed.status_code == 500
    assert changed.json()["error"] == {
        **{"message": "{'error': 'Database not connected'}", "type": "auth_error"},
        **{"param": "None", "code": "500"},
    }
    weighed = litellm_yaml.admin.call("PATCH", "/model/yaml-a/update", litellm_params={"weight": 0})
    assert weighed.status_code == 500
    assert weighed.json()["detail"]["error"].startswith("DB not connected")
    routed = litellm_yaml.admin.call("POST", "/fallback", model="yaml-main", fallback_models=["other"])
    assert routed.status_code == 400


def test_prometheus_scrapes_the_proxy_and_alertmanager_delivers_the_alert(
    litellm: LiteLLM,
    upstreams: Upstreams,
    group: str,
    key: Key,
    receiver: Receiver,
    prometheus: Callable[..., Prometheus],
    alertmanager: Callable[..., Alertmanager],
) -> None:
    alerts = alertmanager(webhook=f"{receiver.url}/alerts")
    failures = f'litellm_deployment_failure_responses_total{{model_group="{group}"}}'
    watching = prometheus(
        scrape={"litellm": litellm.base_url.removeprefix("http://")},
        metrics_path="/metrics/",
        rules=[{"alert": "ProviderFails", "expr": f"{failures} > 0", "labels": {"severity": "page"}}],
        alertmanager=alerts.address,
    )
    upstreams.first.mode = upstreams.second.mode = Mode.SERVER_ERROR
    assert litellm.admin.chat(key, group).status_code == 500
    [delivery] = receiver.wait_for(lambda seen: len(seen) == 1)
    body = json.loads(delivery.body)
    assert (body["version"], body["status"], body["receiver"]) == ("4", "firing", "webhook")
    assert body["commonLabels"]["alertname"] == "ProviderFails"
    [alert] = body["alerts"]
    assert alert["labels"]["model_group"] == group
    assert alert["fingerprint"]
    [sample] = watching.query(failures)
    assert sample["metric"]["exception_status"] == "500"


def test_alertmanager_tells_when_an_alert_is_over(
    receiver: Receiver, alertmanager: Callable[..., Alertmanager]
) -> None:
    alerts = alertmanager(webhook=f"{receiver.url}/alerts")
    labels: JsonValue = {"alertname": "Made", "key": "k1"}
    alerts.post_alerts({"labels": labels})
    receiver.wait_for(lambda seen: len(seen) == 1)
    alerts.post_alerts({"labels": labels, "endsAt": datetime.now(UTC).isoformat()})
    *_, last = receiver.wait_for(lambda seen: len(seen) == 2)
    assert json.loads(last.body)["status"] == "resolved"


def test_prometheus_scrapes_a_page_of_our_own(receiver: Receiver, prometheus: Callable[..., Prometheus]) -> None:
    receiver.pages["/metrics"] = "# TYPE queue_depth gauge\nqueue_depth 42\n"
    watching = prometheus(scrape={"own": receiver.address})
    [sample] = eventually(lambda: watching.query("queue_depth"), timeout_s=30)
    assert sample["value"][1] == "42"
    assert sample["metric"]["job"] == "own"
