"""Proves that the counterparts of gateways and AI systems do what the adapters' proofs rely on.

What is asserted of a real system is what this very version does: when a later one does it otherwise, the adapter's page
has to change with the test.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from pydantic import JsonValue

from tests.testbed.aisystems.chroma import COLLECTIONS, Chroma
from tests.testbed.aisystems.cloudflare import ACCOUNT, OPTIONAL, REQUIRED, CloudflareFake
from tests.testbed.aisystems.envoy import PREFIX, Envoy
from tests.testbed.aisystems.langfuse import BASE as LANGFUSE
from tests.testbed.aisystems.langfuse import PUBLIC_KEY, LangfuseFake
from tests.testbed.aisystems.langgraph_server import LangGraph
from tests.testbed.aisystems.langsmith import OWNER, LangSmithFake
from tests.testbed.aisystems.phoenix import Phoenix
from tests.testbed.aisystems.portkey import Portkey, config, target
from tests.testbed.aisystems.portkey_control import PortkeyControlFake
from tests.testbed.aisystems.qdrant import PEERS, QdrantFake
from tests.testbed.cache import built, finished, step
from tests.testbed.clouds.judges import CloudJudge
from tests.testbed.faultproxy import fault_proxy
from tests.testbed.upstream import Mode, Upstreams
from watchkeeper.adapters.kit import Fault, Judge
from watchkeeper.core.actions import Target

peer = pytest.mark.peer
OFFICIAL = Path(__file__).parent / "aisystems/official.py"


@contextmanager
def caller(url: str, **headers: str) -> Iterator[httpx.Client]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with httpx.Client(base_url=url, headers=named, timeout=60, trust_env=False) as client:
        yield client


def _half(place: Path) -> None:
    (place / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)


class TestCache:
    def test_an_interrupted_build_leaves_nothing_half_done(self, tmp_path: Path) -> None:
        place = tmp_path / "system"
        killed = multiprocessing.get_context("spawn").Process(target=built, args=(place, _half))
        killed.start()
        killed.join(60)
        assert killed.exitcode == -signal.SIGKILL
        assert (place / "half").exists()
        assert not finished(place)
        assert built(place, lambda here: (here / "whole").touch()) == place
        assert finished(place)
        assert not (place / "half").exists()
        built(place, _half)  # it is there: nothing is made

    def test_a_copied_build_does_not_count(self, tmp_path: Path) -> None:
        place = built(tmp_path / "system", lambda here: (here / "whole").touch())
        assert not finished(place.rename(tmp_path / "elsewhere"))


@peer
class TestPhoenix:
    def test_a_tag_is_moved_and_moved_back(self, phoenix: Phoenix) -> None:
        prompt, (good, bad) = phoenix.prompt("good", "bad")
        target_id = f"{prompt}/production"
        assert phoenix.fields("prompt_tag", target_id) == {"version": None, "description": None}
        with caller(phoenix.url, authorization=f"Bearer {phoenix.key}") as client:
            effects = phoenix.effects()
            for version in (good, bad, good):
                tag: JsonValue = {"name": "production", "description": "live"}
                assert client.post(f"/v1/prompt_versions/{version}/tags", json=tag).status_code == 204
                assert phoenix.fields("prompt_tag", target_id) == {"version": version, "description": "live"}
                served = client.get(f"/v1/prompts/{prompt}/tags/production").json()["data"]
                assert served["id"] == version
            assert phoenix.effects() - effects == 3

    def test_what_is_not_sent_of_a_tag_is_lost(self, phoenix: Phoenix) -> None:
        prompt, (good, bad) = phoenix.prompt("good", "bad")
        phoenix.write("prompt_tag", f"{prompt}/production", {"version": bad, "description": "live"})
        with caller(phoenix.url, authorization=f"Bearer {phoenix.key}") as client:
            client.post(f"/v1/prompt_versions/{good}/tags", json={"name": "production"}).raise_for_status()
        assert phoenix.fields("prompt_tag", f"{prompt}/production") == {"version": good, "description": None}

    def test_a_tag_that_was_not_set_is_taken_away(self, phoenix: Phoenix) -> None:
        prompt, (good,) = phoenix.prompt("good")
        with caller(phoenix.url, authorization=f"Bearer {phoenix.key}") as client:
            client.post(f"/v1/prompt_versions/{good}/tags", json={"name": "production"}).raise_for_status()
            assert client.delete(f"/v1/prompt_versions/{good}/tags/production").status_code == 204
        assert phoenix.fields("prompt_tag", f"{prompt}/production")["version"] is None

    def test_the_judge_writes_what_a_client_reads(self, phoenix: Phoenix) -> None:
        prompt, (good, bad) = phoenix.prompt("good", "bad")
        with caller(phoenix.url, authorization=f"Bearer {phoenix.key}") as client:
            effects = phoenix.effects()
            for version in (good, bad):
                phoenix.write("prompt_tag", f"{prompt}/production", {"version": version})
                assert client.get(f"/v1/prompts/{prompt}/tags/production").json()["data"]["id"] == version
            phoenix.write("prompt_tag", f"{prompt}/production", {"version": None})
            assert client.get(f"/v1/prompts/{prompt}/tags/production").status_code == 404
            assert phoenix.effects() == effects
        with pytest.raises(LookupError):
            phoenix.fields("prompt_tag", "nothing/production")

    def test_refusals_change_nothing(self, phoenix: Phoenix) -> None:
        prompt, (good,) = phoenix.prompt("good")
        effects, tag = phoenix.effects(), {"name": "production"}
        with caller(phoenix.url, authorization="Bearer wrong") as stranger:
            assert stranger.get("/v1/prompts").status_code == 401
        with caller(phoenix.url, authorization=f"Bearer {phoenix.viewer_key()}") as viewer:
            assert viewer.get("/v1/user").json()["data"]["role"] == "VIEWER"
            assert viewer.get(f"/v1/prompts/{prompt}/versions").status_code == 200
            assert viewer.post(f"/v1/prompt_versions/{good}/tags", json=tag).status_code == 403
        with caller(phoenix.url, authorization=f"Bearer {phoenix.key}") as client:
            assert client.post("/v1/prompt_versions/UHJvbXB0VmVyc2lvbjo5OTk5/tags", json=tag).status_code == 404
            assert client.post(f"/v1/prompt_versions/{good}/tags", json={"name": "Not This"}).status_code == 422
        assert phoenix.effects() == effects

    def test_there_is_no_precondition(self, phoenix: Phoenix) -> None:
        prompt, (good, bad) = phoenix.prompt("good", "bad")
        phoenix.write("prompt_tag", f"{prompt}/production", {"version": bad})
        with caller(phoenix.url, authorization=f"Bearer {phoenix.key}", if_match='"another"') as client:
            assert client.post(f"/v1/prompt_versions/{good}/tags", json={"name": "production"}).status_code == 204


@peer
class TestEnvoy:
    def test_traffic_is_shifted_and_given_back(self, envoy: Envoy) -> None:
        assert envoy.fields("route", PREFIX) == {"main": None, "standby": None}
        assert envoy.share("main") == 1.0
        with caller(envoy.url) as client:
            both = {f"{PREFIX}.main": 20, f"{PREFIX}.standby": 80}
            assert client.post("/runtime_modify", params=both).text == "OK\n"
            assert envoy.fields("route", PREFIX) == {"main": 20, "standby": 80}
            assert 0.5 < envoy.share("standby") < 1.0
            assert client.post(f"/runtime_modify?{PREFIX}.main=&{PREFIX}.standby=").status_code == 200
        assert envoy.fields("route", PREFIX) == {"main": None, "standby": None}
        assert envoy.share("main") == 1.0
        assert envoy.effects() == 2

    def test_the_base_weights_are_in_the_dump(self, envoy: Envoy) -> None:
        with caller(envoy.url) as client:
            dump = client.get("/config_dump", params={"resource": "static_route_configs"}).json()["configs"]
        route = dump[0]["route_config"]["virtual_hosts"][0]["routes"][0]["route"]["weighted_clusters"]
        assert route["runtime_key_prefix"] == PREFIX
        assert {one["name"]: one["weight"] for one in route["clusters"]} == {"main": 100, "standby": 0}

    def test_the_judge_writes_and_a_restart_forgets(self, envoy: Envoy) -> None:
        envoy.write("route", PREFIX, {"main": 0, "standby": 100})
        assert envoy.share("standby") == 1.0
        assert envoy.effects() == 0
        envoy.restart()
        assert envoy.fields("route", PREFIX) == {"main": None, "standby": None}

    def test_weights_that_are_all_zero_break_the_route(self, envoy: Envoy) -> None:
        envoy.write("route", PREFIX, {"main": 0, "standby": 0})
        with pytest.raises(httpx.HTTPStatusError, match="404"):
            envoy.share("main", calls=1)

    def test_refusals(self, envoy: Envoy) -> None:
        with caller(envoy.url) as client:
            assert client.get(f"/runtime_modify?{PREFIX}.main=1").status_code == 405
            assert client.post("/runtime_modify").status_code == 400
        assert envoy.effects() == 0
        with pytest.raises(LookupError):
            envoy.fields("route", "routing.other")


@peer
class TestLangGraph:
    def test_a_run_is_stopped_and_goes_on_in_another(self, langgraph_server: LangGraph) -> None:
        server, id_ = langgraph_server, langgraph_server.run()
        thread, run = id_.split("/")
        assert (server.fields("run", id_)["status"], server.fields("run", id_)["thread"]) == ("running", "busy")
        with caller(server.url, x_api_key=server.key) as client:
            assert client.post(f"/threads/{thread}/runs/{run}/cancel?wait=true").status_code == 200
            stopped = server.fields("run", id_)
            assert (stopped["status"], stopped["thread"]) == ("interrupted", "interrupted")
            again = client.post(f"/threads/{thread}/runs/{run}/cancel?wait=true")
            assert again.status_code == 404
            assert "No matching runs to cancel" in again.json()["detail"]
            on: JsonValue = {
                "assistant_id": "agent",
                "input": None,
                "config": {"recursion_limit": 1000},
                "multitask_strategy": "reject",
            }
            made = client.post(f"/threads/{thread}/runs", json=on)
            assert made.status_code == 200
            assert client.post(f"/threads/{thread}/runs", json=on).status_code == 409
            client.post(f"/threads/{thread}/runs/{made.json()['run_id']}/cancel?wait=true").raise_for_status()
        after = server.fields("run", id_)
        assert after["status"] == "interrupted"
        assert isinstance(stopped["steps"], int)
        assert isinstance(after["steps"], int)
        assert after["steps"] >= stopped["steps"]

    def test_rollback_takes_the_run_and_its_steps_away(self, langgraph_server: LangGraph) -> None:
        server, id_ = langgraph_server, langgraph_server.run()
        thread, run = id_.split("/")
        with caller(server.url, x_api_key=server.key) as client:
            cancel = f"/threads/{thread}/runs/{run}/cancel?wait=true&action=rollback"
            assert client.post(cancel).status_code == 200
            assert client.get(f"/threads/{thread}/runs/{run}").status_code == 404
            assert client.get(f"/threads/{thread}").json()["status"] == "idle"
        with pytest.raises(LookupError):
            server.fields("run", id_)

    def test_a_schedule_is_paused_and_resumed(self, langgraph_server: LangGraph) -> None:
        server, id_ = langgraph_server, langgraph_server.cron()
        effects = server.effects()
        with caller(server.url, x_api_key=server.key) as client:
            for enabled in (False, True):
                assert client.patch(f"/runs/crons/{id_}", json={"enabled": enabled}).status_code == 200
                assert server.fields("cron", id_) == {"enabled": enabled}
            client.post("/runs/crons/search", json={}).raise_for_status()
        assert server.effects() - effects == 2
        server.write("cron", id_, {"enabled": False})
        assert server.fields("cron", id_) == {"enabled": False}

    def test_an_assistant_is_set_back_to_a_version(self, langgraph_server: LangGraph) -> None:
        server, id_ = langgraph_server, langgraph_server.assistant("good", "bad")
        assert server.fields("assistant", id_)["version"] == 2
        with caller(server.url, x_api_key=server.key) as client:
            assert client.post(f"/assistants/{id_}/latest", json={"version": 1}).status_code == 200
            assert client.post(f"/assistants/{id_}/latest", json={"version": 9}).status_code == 404
            listed = client.post(f"/assistants/{id_}/versions", json={}).json()
        assert [one["version"] for one in listed] == [2, 1]
        assert server.fields("assistant", id_)["version"] == 1
        assert [one["context"] for one in listed] == [{"model": "bad"}, {"model": "good"}]
        # the trap: the version is the old one, and what its runs are told is still the new one's
        assert server.fields("assistant", id_)["model"] == "bad"
        server.write("assistant", id_, {"version": 2})
        assert server.fields("assistant", id_)["version"] == 2

    def test_refusals_change_nothing(self, langgraph_server: LangGraph) -> None:
        server, id_ = langgraph_server, langgraph_server.cron()
        effects = server.effects()
        with caller(server.url, x_api_key="wrong") as stranger:
            assert stranger.get(f"/runs/crons/{id_}").status_code == 401
        with caller(server.url, x_api_key=server.reader_key) as reader:
            assert reader.get(f"/runs/crons/{id_}").status_code == 200
            assert reader.patch(f"/runs/crons/{id_}", json={"enabled": False}).status_code == 403
        assert server.effects() == effects
        with pytest.raises(LookupError):
            server.fields("cron", "00000000-0000-0000-0000-000000000000")


@peer
class TestChroma:
    def test_an_index_is_tuned_and_tuned_back(self, chroma: Chroma) -> None:
        name, effects = chroma.collection(), chroma.effects()
        assert chroma.fields("collection", name)["ef_search"] == 100
        with caller(chroma.url) as client:
            id_ = client.get(f"{COLLECTIONS}/{name}").json()["id"]
            for width in (20, 100):
                body: JsonValue = {"new_configuration": {"hnsw": {"ef_search": width}}}
                assert client.put(f"{COLLECTIONS}/{id_}", json=body).status_code == 200
                assert chroma.fields("collection", name)["ef_search"] == width
            query: JsonValue = {"query_embeddings": [[0.0, 1.0]], "n_results": 1}
            assert client.post(f"{COLLECTIONS}/{id_}/query", json=query).json()["ids"] == [["0"]]
        assert chroma.effects() - effects == 2

    def test_the_judge_writes_what_a_client_reads(self, chroma: Chroma) -> None:
        name = chroma.collection()
        chroma.write("collection", name, {"ef_search": 33})
        with caller(chroma.url) as client:
            assert client.get(f"{COLLECTIONS}/{name}").json()["configuration_json"]["hnsw"]["ef_search"] == 33

    def test_a_nonsensical_width_is_taken(self, chroma: Chroma) -> None:
        name = chroma.collection()
        with caller(chroma.url) as client:
            id_ = client.get(f"{COLLECTIONS}/{name}").json()["id"]
            body: JsonValue = {"new_configuration": {"hnsw": {"ef_search": 0}}}
            assert client.put(f"{COLLECTIONS}/{id_}", json=body).status_code == 200
        assert chroma.fields("collection", name)["ef_search"] == 0

    def test_refusals_change_nothing(self, chroma: Chroma) -> None:
        effects = chroma.effects()
        body: JsonValue = {"new_configuration": {"hnsw": {"ef_search": 20}}}
        with caller(chroma.url) as client:
            missing = client.put(f"{COLLECTIONS}/00000000-0000-0000-0000-000000000000", json=body)
            assert (missing.status_code, missing.json()["error"]) == (404, "NotFoundError")
        assert chroma.effects() == effects
        with pytest.raises(LookupError):
            chroma.fields("collection", "nothing")


@peer
class TestPortkey:
    def test_a_config_of_weights_splits_traffic(self, portkey: Portkey, upstreams: Upstreams) -> None:
        both = [target(upstreams.first, weight=0), target(upstreams.second, weight=1)]
        for _ in range(10):
            assert portkey.chat(config("loadbalance", both)).status_code == 200
        assert (upstreams.first.served(), upstreams.second.served()) == (0, 10)

    def test_a_config_of_fallbacks_goes_round_an_outage(self, portkey: Portkey, upstreams: Upstreams) -> None:
        upstreams.first.mode = Mode.SERVER_ERROR
        both = [target(upstreams.first), target(upstreams.second)]
        assert portkey.chat(config("fallback", both)).status_code == 200
        assert (upstreams.first.served(), upstreams.second.served()) == (0, 1)
        assert portkey.chat(config("fallback", both[:1])).status_code == 500


class TestLangfuse:
    def test_a_label_is_moved_and_moved_back(self, langfuse: LangfuseFake) -> None:
        name = langfuse.prompt("good", "bad", folder="team/")
        id_, quoted = f"{name}/production", name.replace("/", "%2F")
        langfuse.write("prompt_label", id_, {"version": 2})
        with caller(langfuse.url, authorization=basic(langfuse.key)) as client:
            for version in (1, 2):
                path = f"{LANGFUSE}/{quoted}/versions/{version}"
                reply = client.patch(path, json={"newLabels": ["production"]})
                assert reply.status_code == 200
                assert "production" in reply.json()["labels"]
                assert langfuse.fields("prompt_label", id_) == {"version": version}
                assert client.get(f"{LANGFUSE}/{quoted}").json()["version"] == version
        assert langfuse.effects() == 2

    def test_no_call_takes_a_label_away(self, langfuse: LangfuseFake) -> None:
        name = langfuse.prompt("good")
        langfuse.write("prompt_label", f"{name}/production", {"version": 1})
        with caller(langfuse.url, authorization=basic(langfuse.key)) as client:
            assert client.patch(f"{LANGFUSE}/{name}/versions/1", json={"newLabels": []}).status_code == 200
        assert langfuse.fields("prompt_label", f"{name}/production") == {"version": 1}

    def test_a_list_has_pages(self, langfuse: LangfuseFake) -> None:
        for _ in range(3):
            langfuse.prompt("one")
        with caller(langfuse.url, authorization=basic(langfuse.reader_key)) as client:
            found = client.get(LANGFUSE, params={"page": 2, "limit": 2}).json()
        assert found["meta"] == {"page": 2, "limit": 2, "totalItems": 3, "totalPages": 2}
        assert len(found["data"]) == 1
        assert found["data"][0]["labels"] == ["latest"]

    def test_refusals_change_nothing(self, langfuse: LangfuseFake) -> None:
        name = langfuse.prompt("good")
        path, label = f"{LANGFUSE}/{name}/versions/1", {"newLabels": ["production"]}
        with caller(langfuse.url, authorization=basic("wrong")) as stranger:
            assert stranger.get(LANGFUSE).status_code == 401
        with caller(langfuse.url, authorization=basic(langfuse.reader_key)) as reader:
            assert reader.patch(path, json=label).status_code == 403
        with caller(langfuse.url, authorization=basic(langfuse.key)) as client:
            missing = client.patch(f"{LANGFUSE}/{name}/versions/9", json=label)
            assert (missing.status_code, missing.json()["error"]) == (404, "LangfuseNotFoundError")
            assert client.patch(path, json={"newLabels": "production"}).status_code == 400
            langfuse.throttle_next(7)
            limited = client.patch(path, json=label)
            assert (limited.status_code, limited.headers["retry-after"]) == (429, "7")
        assert langfuse.effects() == 0
        with pytest.raises(LookupError):
            langfuse.fields("prompt_label", "nothing/production")


class TestLangSmith:
    def test_a_tag_is_moved_and_moved_back(self, langsmith: LangSmithFake) -> None:
        name, (good, bad) = langsmith.prompt("good", "bad")
        id_, tags = f"{OWNER}/{name}/production", f"/api/v1/repos/{OWNER}/{name}/tags"
        langsmith.write("prompt_tag", id_, {"commit_id": bad})
        with caller(langsmith.url, x_api_key=langsmith.key) as client:
            for commit in (good, bad):
                assert client.patch(f"{tags}/production", json={"commit_id": commit}).json()["commit_id"] == commit
                assert langsmith.fields("prompt_tag", id_) == {"commit_id": commit}
            served = client.get(f"/api/v1/commits/-/{name}/production").json()
            assert served["manifest"] == {"text": "bad"}
            assert client.delete(f"{tags}/production").status_code == 200
            assert langsmith.fields("prompt_tag", id_) == {"commit_id": None}
            assert client.post(tags, json={"tag_name": "production", "commit_id": bad}).status_code == 200
            assert client.post(tags, json={"tag_name": "production", "commit_id": bad}).status_code == 409
        assert langsmith.effects() == 4

    def test_commits_have_pages_and_parents(self, langsmith: LangSmithFake) -> None:
        name, ids = langsmith.prompt("one", "two", "three")
        with caller(langsmith.url, x_api_key=langsmith.reader_key) as client:
            found = client.get(f"/api/v1/commits/{OWNER}/{name}", params={"limit": 2, "offset": 1}).json()
        assert found["total"] == 3
        assert [one["id"] for one in found["commits"]] == [ids[1], ids[0]]
        assert [one["parent_id"] for one in found["commits"]] == [ids[0], None]

    def test_refusals_change_nothing(self, langsmith: LangSmithFake) -> None:
        name, (good,) = langsmith.prompt("good")
        path = f"/api/v1/repos/{OWNER}/{name}/tags/production"
        with caller(langsmith.url) as stranger:
            assert stranger.get(path).status_code == 401
        with caller(langsmith.url, x_api_key=langsmith.reader_key) as reader:
            assert reader.patch(path, json={"commit_id": good}).status_code == 403
        with caller(langsmith.url, x_api_key=langsmith.key) as client:
            assert client.patch(path, json={"commit_id": good}).status_code == 404
            langsmith.write("prompt_tag", f"{OWNER}/{name}/production", {"commit_id": good})
            assert client.patch(path, json={"commit_id": "no uuid"}).status_code == 422
            langsmith.throttle_next()
            limited = client.patch(path, json={"commit_id": good})
            assert limited.status_code == 429
            assert "retry-after" not in limited.headers
        assert langsmith.effects() == 0


class TestCloudflare:
    def test_a_gateway_is_throttled_and_given_back(self, cloudflare: CloudflareFake) -> None:
        id_ = cloudflare.gateway(guardrails={"prompt": {"S1": "BLOCK"}, "response": {}}, zdr=True)
        before, path = cloudflare.fields("gateway", id_), gateway_path(id_)
        with caller(cloudflare.url, authorization=f"Bearer {cloudflare.key}") as client:
            held = client.get(path).json()["result"]
            own = {name: value for name, value in held.items() if name in (*REQUIRED, *OPTIONAL)}
            limits: JsonValue = {"rate_limiting_limit": 10, "rate_limiting_interval": 60}
            assert isinstance(limits, dict)
            assert client.put(path, json=own | limits).json()["result"]["rate_limiting_limit"] == 10
            assert cloudflare.fields("gateway", id_) == {**before, **limits}
            assert client.put(path, json=own).status_code == 200
        assert cloudflare.fields("gateway", id_) == before
        assert cloudflare.effects() == 2

    def test_what_an_update_leaves_out_is_lost(self, cloudflare: CloudflareFake) -> None:
        id_ = cloudflare.gateway(zdr=True)
        with caller(cloudflare.url, authorization=f"Bearer {cloudflare.key}") as client:
            assert client.put(gateway_path(id_), json=dict(REQUIRED)).status_code == 200
        assert cloudflare.fields("gateway", id_)["zdr"] is False

    def test_a_route_goes_back_to_a_version(self, cloudflare: CloudflareFake) -> None:
        id_, (good, bad) = cloudflare.route(cloudflare.gateway(), "good", "bad")
        path = gateway_path(id_.rpartition("/")[0]) + f"/routes/{id_.rpartition('/')[2]}"
        assert cloudflare.fields("route", id_) == {"version_id": bad}
        with caller(cloudflare.url, authorization=f"Bearer {cloudflare.key}") as client:
            assert client.post(f"{path}/deployments", json={"version_id": good}).status_code == 200
            assert cloudflare.fields("route", id_) == {"version_id": good}
            shown = client.get(path).json()["result"]
            assert shown["deployment"]["version_id"] == good
            assert shown["elements"][1]["properties"]["model"] == "good"
            versions = client.get(f"{path}/versions").json()["data"]["versions"]
            assert [(one["version_id"], one["active"]) for one in versions] == [(bad, "false"), (good, "true")]
            assert len(client.get(f"{path}/deployments").json()["data"]["deployments"]) == 3
            assert client.post(f"{path}/deployments", json={"version_id": "none"}).status_code == 404
        assert cloudflare.effects() == 1

    def test_a_list_has_pages(self, cloudflare: CloudflareFake) -> None:
        for _ in range(3):
            cloudflare.gateway()
        path = f"/client/v4/accounts/{ACCOUNT}/ai-gateway/gateways"
        with caller(cloudflare.url, authorization=f"Bearer {cloudflare.reader_key}") as client:
            found = client.get(path, params={"page": 2, "per_page": 2}).json()
        assert found["result_info"] == {"count": 1, "page": 2, "per_page": 2, "total_count": 3}

    def test_refusals_change_nothing(self, cloudflare: CloudflareFake) -> None:
        id_ = cloudflare.gateway()
        path, whole = gateway_path(id_), {**REQUIRED, "rate_limiting_limit": 10}
        with caller(cloudflare.url) as stranger:
            assert stranger.get(path).status_code == 401
        with caller(cloudflare.url, authorization=f"Bearer {cloudflare.reader_key}") as reader:
            assert reader.put(path, json=whole).status_code == 403
        with caller(cloudflare.url, authorization=f"Bearer {cloudflare.key}") as client:
            assert client.put(path, json={"rate_limiting_limit": 10}).status_code == 400
            assert client.put(path, json=whole | {"rate_limiting_limit": -1}).status_code == 400
            assert client.put(path + "x", json=whole).status_code == 404
            cloudflare.throttle_next(30)
            limited = client.put(path, json=whole)
            assert (limited.status_code, limited.headers["retry-after"]) == (429, "30")
            assert limited.headers["ratelimit"] == '"default";r=0;t=30'
        assert cloudflare.effects() == 0


class TestPortkeyControl:
    @pytest.mark.parametrize("wrapped", [False, True])
    def test_a_config_goes_back_to_what_it_was(self, portkey_control: PortkeyControlFake, wrapped: bool) -> None:
        portkey_control.wrapped = wrapped
        good: dict[str, JsonValue] = {"strategy": {"mode": "fallback"}}
        slug = portkey_control.config(good, {"strategy": {"mode": "single"}})
        with caller(portkey_control.url, x_portkey_api_key=portkey_control.key) as client:
            versions = client.get(f"/v1/configs/{slug}/versions").json()["data"]
            assert [json.loads(one["config"]) for one in versions][-1] == good
            assert client.put(f"/v1/configs/{slug}", json={"config": good}).status_code == 200
            shown = client.get(f"/v1/configs/{slug}").json()
            shown = shown["data"] if wrapped else shown
            assert json.loads(shown["config"]) == good
            assert shown["version_id"] != versions[-1]["version_id"]
        assert json.loads(str(portkey_control.fields("config", slug)["config"])) == good
        assert portkey_control.effects() == 1

    @peer
    def test_a_stored_config_means_to_the_gateway_what_it_says(
        self, portkey_control: PortkeyControlFake, upstreams: Upstreams, portkey: Portkey
    ) -> None:
        both = [target(upstreams.first, weight=1), target(upstreams.second, weight=0)]
        shifted = [target(upstreams.first, weight=0), target(upstreams.second, weight=1)]
        slug = portkey_control.config({"targets": both, "strategy": {"mode": "loadbalance"}})
        with caller(portkey_control.url, x_portkey_api_key=portkey_control.key) as client:
            for targets in (both, shifted):
                body: JsonValue = {"config": config("loadbalance", targets)}
                client.put(f"/v1/configs/{slug}", json=body).raise_for_status()
                stored = json.loads(client.get(f"/v1/configs/{slug}").json()["config"])
                assert portkey.chat(stored).status_code == 200
        assert (upstreams.first.served(), upstreams.second.served()) == (1, 1)

    @pytest.mark.parametrize(("kind", "plural"), [("api_key", "api-keys"), ("provider", "providers")])
    def test_limits_are_set_and_given_back(self, portkey_control: PortkeyControlFake, kind: str, plural: str) -> None:
        fake = portkey_control
        id_ = fake.api_key(rpm=100, credit=50) if kind == "api_key" else fake.provider(rpm=100, credit=50)
        before = fake.fields(kind, id_)
        assert (before["requests_rpm"], before["credit_limit"]) == (100, 50)
        with caller(fake.url, x_portkey_api_key=fake.key) as client:
            held = client.get(f"/v1/{plural}/{id_}").json()
            limit: JsonValue = [{"type": "requests", "unit": "rpm", "value": 10}]
            assert client.put(f"/v1/{plural}/{id_}", json={"rate_limits": limit}).status_code == 200
            assert fake.fields(kind, id_) == {**before, "requests_rpm": 10}
            assert client.put(f"/v1/{plural}/{id_}", json={"rate_limits": held["rate_limits"]}).status_code == 200
            assert fake.fields(kind, id_) == before
        fake.write(kind, id_, {"requests_rpm": None, "tokens_rpd": 5})
        assert (fake.fields(kind, id_)["requests_rpm"], fake.fields(kind, id_)["tokens_rpd"]) == (None, 5)
        assert fake.effects() == 2

    def test_refusals_change_nothing(self, portkey_control: PortkeyControlFake) -> None:
        fake, slug = portkey_control, portkey_control.config({})
        key = fake.api_key()
        with caller(fake.url, x_portkey_api_key="wrong") as stranger:
            assert stranger.get("/v1/configs").json()["data"]["errorCode"] == "AB05"
        with caller(fake.url, x_portkey_api_key=fake.reader_key) as reader:
            assert reader.put(f"/v1/configs/{slug}", json={"config": {}}).status_code == 403
        with caller(fake.url, x_portkey_api_key=fake.key) as client:
            assert client.put(f"/v1/configs/{slug}x", json={"config": {}}).status_code == 404
            wrong: JsonValue = {"rate_limits": [{"type": "requests", "unit": "fortnight", "value": 1}]}
            assert client.put(f"/v1/api-keys/{key}", json=wrong).status_code == 400
            fake.throttle_next()
            assert client.put(f"/v1/configs/{slug}", json={"config": {}}).status_code == 429
        assert fake.effects() == 0


class TestQdrant:
    def test_parameters_are_changed_and_changed_back(self, qdrant: QdrantFake) -> None:
        name = qdrant.collection()
        before = qdrant.fields("collection", name)
        with caller(qdrant.url, api_key=qdrant.key) as client:
            for threshold in (0, 10_000):
                body: JsonValue = {"optimizers_config": {"indexing_threshold": threshold}}
                assert client.patch(f"/collections/{name}", json=body).json()["result"] is True
                shown = client.get(f"/collections/{name}").json()["result"]["config"]["optimizer_config"]
                assert shown["indexing_threshold"] == threshold
                assert qdrant.fields("collection", name) == {**before, "indexing_threshold": threshold}
        assert qdrant.effects() == 2

    def test_not_set_cannot_be_written_back(self, qdrant: QdrantFake) -> None:
        name = qdrant.collection()
        with caller(qdrant.url, api_key=qdrant.key) as client:
            for fan_out in (2, None):
                body: JsonValue = {"params": {"read_fan_out_factor": fan_out}}
                assert client.patch(f"/collections/{name}", json=body).status_code == 200
        assert qdrant.fields("collection", name)["read_fan_out_factor"] == 2

    def test_a_shard_is_replicated_and_the_replica_dropped(self, qdrant: QdrantFake) -> None:
        name, path = qdrant.collection(), "/collections/{}/cluster"
        copy: JsonValue = {"replicate_shard": {"shard_id": 0, "from_peer_id": PEERS[0], "to_peer_id": PEERS[1]}}
        drop: JsonValue = {"drop_replica": {"shard_id": 0, "peer_id": PEERS[1]}}
        with caller(qdrant.url, api_key=qdrant.key) as client:
            with qdrant.held():
                assert client.post(path.format(name), json=copy).json()["result"] is True
                shown = client.get(path.format(name)).json()["result"]
                assert [one["state"] for one in shown["remote_shards"]] == ["Partial"]
                assert len(shown["shard_transfers"]) == 1
                assert qdrant.fields("shard", f"{name}/0") == {"active": f"{PEERS[0]}", "replicas": 2}
            assert qdrant.fields("shard", f"{name}/0") == {"active": f"{PEERS[0]},{PEERS[1]}", "replicas": 2}
            assert client.post(path.format(name), json=copy).status_code == 400
            assert client.post(path.format(name), json=drop).status_code == 200
            assert qdrant.fields("shard", f"{name}/0") == {"active": f"{PEERS[0]}", "replicas": 1}
            last: JsonValue = {"drop_replica": {"shard_id": 0, "peer_id": PEERS[0]}}
            assert client.post(path.format(name), json=last).status_code == 400
        assert qdrant.effects() == 2

    def test_an_alias_is_switched_in_one_call(self, qdrant: QdrantFake) -> None:
        good, bad = qdrant.collection(), qdrant.collection()
        alias = qdrant.alias(bad)
        switch: JsonValue = {
            "actions": [
                {"delete_alias": {"alias_name": alias}},
                {"create_alias": {"alias_name": alias, "collection_name": good}},
            ]
        }
        wrong: JsonValue = {"actions": [{"delete_alias": {"alias_name": alias}}, {"nonsense": {}}]}
        with caller(qdrant.url, api_key=qdrant.key) as client:
            assert client.post("/collections/aliases", json=wrong).status_code == 400
            assert qdrant.fields("alias", alias) == {"collection": bad}
            assert client.post("/collections/aliases", json=switch).json()["result"] is True
            assert client.get(f"/collections/{good}/aliases").json()["result"]["aliases"][0]["alias_name"] == alias
        assert qdrant.fields("alias", alias) == {"collection": good}
        assert qdrant.effects() == 1

    def test_refusals_change_nothing(self, qdrant: QdrantFake) -> None:
        name = qdrant.collection()
        body: JsonValue = {"params": {"replication_factor": 2}}
        with caller(qdrant.url) as stranger:
            assert stranger.get("/collections").status_code == 401
        with caller(qdrant.url, api_key=qdrant.reader_key) as reader:
            assert reader.patch(f"/collections/{name}", json=body).status_code == 403
        with caller(qdrant.url, api_key=qdrant.key) as client:
            missing = client.patch(f"/collections/{name}x", json=body)
            assert missing.status_code == 404
            assert "doesn't exist" in missing.json()["status"]["error"]
            assert client.patch(f"/collections/{name}", json={"params": {"shards": 2}}).status_code == 400
            assert client.patch(f"/collections/{name}", json={"params": {"replication_factor": 0}}).status_code == 400
            qdrant.throttle_next(2)
            assert client.patch(f"/collections/{name}", json=body).headers["retry-after"] == "2"
        assert qdrant.effects() == 0


@peer
def test_the_vendors_own_clients_speak_with_the_fakes(
    ai_clients: Path,
    langfuse: LangfuseFake,
    langsmith: LangSmithFake,
    cloudflare: CloudflareFake,
    portkey_control: PortkeyControlFake,
    qdrant: QdrantFake,
) -> None:
    prompt, gateway = langfuse.prompt("good", "bad"), cloudflare.gateway()
    langfuse.write("prompt_label", f"{prompt}/production", {"version": 2})
    repo, (commit, _) = langsmith.prompt("good", "bad")
    route, (version, _) = cloudflare.route(gateway, "good", "bad")
    slug, key = portkey_control.config({}), portkey_control.api_key()
    old, new = qdrant.collection(), qdrant.collection()
    alias = qdrant.alias(old)
    limited: JsonValue = {"url": cloudflare.url, "key": cloudflare.key, "gateway": gateway}
    assert isinstance(limited, dict)
    where: JsonValue = {
        "langfuse": {"url": langfuse.url, "public": PUBLIC_KEY, "secret": langfuse.key, "prompt": prompt},
        "langsmith": {
            "url": langsmith.url,
            "key": langsmith.key,
            "prompt": repo,
            "commit": commit,
        },
        "cloudflare": {**limited, "route": route.rpartition("/")[2], "version": version},
        "portkey": {"url": portkey_control.url, "key": portkey_control.key, "config": slug, "api_key": key},
        "qdrant": {"url": qdrant.url, "key": qdrant.key, "collection": old, "alias": alias, "other": new}
        | {"peers": list[JsonValue](PEERS)},
    }
    said = json.loads(step([ai_clients, OFFICIAL, json.dumps(where)], timeout_s=300))
    assert said["langfuse"] == {
        "before": 2,
        "labels": ["production"],
        "after": 1,
        "listed": [prompt],
        "missing": True,
    }
    assert said["langsmith"] == {"commits": 2, "staging": {"text": "good"}}
    assert said["cloudflare"] == {
        "limit": 10,
        "listed": [gateway.partition("/")[2]],
        "deployed": version,
        "active": [version],
        "missing": True,
    }
    assert said["portkey"] == {"new_version": True, "config": '{"retry": {"attempts": 2}}', "limits": True}
    assert said["qdrant"] == {"threshold": 5, "replicas": [PEERS[1]], "aliases": {alias: new}}
    assert (langfuse.effects(), langsmith.effects(), cloudflare.effects()) == (1, 1, 2)
    assert (portkey_control.effects(), qdrant.effects()) == (2, 3)


@pytest.mark.parametrize("fault", [Fault.DROP_AFTER_EFFECT, Fault.ERROR])
async def test_faults_come_between_a_caller_and_a_counterpart(langfuse: LangfuseFake, fault: Fault) -> None:
    name = langfuse.prompt("good")
    headers, label = {"authorization": basic(langfuse.key)}, {"newLabels": ["production"]}
    async with fault_proxy(langfuse.url) as proxy, httpx.AsyncClient(headers=headers, trust_env=False) as client:
        path = f"{proxy.url}{LANGFUSE}/{name}/versions/1"
        with proxy.meet(fault):
            if fault is Fault.ERROR:
                assert (await client.patch(path, json=label)).status_code == 500
            else:
                with pytest.raises(httpx.TransportError):
                    await client.patch(path, json=label)
    assert langfuse.effects() == (fault is Fault.DROP_AFTER_EFFECT)


async def test_judges_suit_the_conformance_kit(qdrant: QdrantFake) -> None:
    name = qdrant.collection()
    judge: Judge = CloudJudge(qdrant)
    where = Target(adapter="qdrant", kind="collection", id=name)
    await judge.write(where, {"replication_factor": 3})
    assert (await judge.fields(where))["replication_factor"] == 3
    assert await judge.effects() == 0


def basic(secret: str) -> str:
    return "Basic " + b64encode(f"{PUBLIC_KEY}:{secret}".encode()).decode()


def gateway_path(id_: str) -> str:
    account, name = id_.split("/")
    return f"/client/v4/accounts/{account}/ai-gateway/gateways/{name}"
