"""Proves that the counterparts of gateways and AI systems do what the adapters' proofs rely on.

What is asserted of a real system is what this very version does: when a later one does it otherwise, the adapter's page
has to change with the test.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from pydantic import JsonValue

from tests.testbed.aisystems.chroma import COLLECTIONS, Chroma
from tests.testbed.aisystems.envoy import PREFIX, Envoy
from tests.testbed.aisystems.langgraph_server import LangGraph
from tests.testbed.aisystems.phoenix import Phoenix
from tests.testbed.aisystems.portkey import Portkey, config, target
from tests.testbed.cache import built, finished
from tests.testbed.upstream import Mode, Upstreams

peer = pytest.mark.peer


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
