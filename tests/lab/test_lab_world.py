"""The whole lab: it sets itself up, its callers report what they do, faults last, and it stops in order."""

from __future__ import annotations

import asyncio
import json
import stat
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from fastapi import FastAPI, Request, Response
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from pydantic import SecretStr
from tests.testbed.labs import lab_process

from watchkeeper.core.clock import SystemClock
from watchkeeper.lab.agents import AgentStatus
from watchkeeper.lab.config import LabConfig
from watchkeeper.lab.plan import CallerFault
from watchkeeper.lab.serving import HttpServer
from watchkeeper.lab.world import CallersControl, World, open_world

Attributes = dict[str, str | int]


class Spans:
    """A daemon that keeps every span's name and attributes, and lets a test wait for one."""

    def __init__(self) -> None:
        self.all: list[tuple[str, Attributes]] = []
        self._arrived = asyncio.Condition()
        self.app = FastAPI(openapi_url=None)
        self.app.post("/v1/traces")(self.receive)

    async def receive(self, request: Request) -> Response:
        message = ExportTraceServiceRequest.FromString(await request.body())
        async with self._arrived:
            for resource in message.resource_spans:
                for span in resource.scope_spans[0].spans:
                    attributes: Attributes = {
                        pair.key: pair.value.string_value or pair.value.int_value for pair in span.attributes
                    }
                    self.all.append((span.name, attributes))
            self._arrived.notify_all()
        return Response(status_code=200)

    async def until(self, enough: Callable[[list[tuple[str, Attributes]]], bool]) -> None:
        async with asyncio.timeout(30), self._arrived:
            await self._arrived.wait_for(lambda: enough(self.all))


@asynccontextmanager
async def watched_world(directory: Path, pace: float) -> AsyncIterator[tuple[World, Spans]]:
    spans = Spans()
    server = HttpServer("daemon", spans.app)
    await server.start()
    config = LabConfig(
        directory=directory, pace=pace, otlp_url=server.url, otlp_token=SecretStr("t"), proxy_batch_write_at=0.2
    )
    try:
        async with open_world(config, SystemClock()) as world:
            yield world, spans
    finally:
        await server.stop()


def agent(world: World, name: str) -> AgentStatus:
    return next(each for each in world.status().agents if each.name == name)


def master(world: World) -> dict[str, str]:
    return {"authorization": f"Bearer {world.info.master_key_file.read_text().strip()}"}


async def test_spans_carry_what_joins_them_to_the_spend_log(tmp_path: Path) -> None:
    async with watched_world(tmp_path, pace=8) as (world, spans):
        kinds = {"chat", "execute_tool", "invoke_agent"}
        names = {each.name for each in world.info.agents}
        await spans.until(
            lambda seen: (
                {str(attributes["gen_ai.operation.name"]) for _, attributes in seen} == kinds
                and {str(attributes["gen_ai.agent.name"]) for _, attributes in seen} == names
            )
        )
        hashes = {each.name: each.key_hash for each in world.info.agents}
        world.gateway.spend.flush()
        async with httpx.AsyncClient(base_url=world.info.gateway_url, headers=master(world), trust_env=False) as client:
            for name, attributes in spans.all:
                assert attributes["watchkeeper.key.hash"] == hashes[str(attributes["gen_ai.agent.name"])]
                assert attributes["watchkeeper.run.id"] == attributes["gen_ai.conversation.id"]
                if attributes["gen_ai.operation.name"] == "execute_tool":
                    assert name == f"execute_tool {attributes['gen_ai.tool.name']}"
                    assert json.loads(str(attributes["gen_ai.tool.call.arguments"]))
            call = next(attributes for _, attributes in spans.all if attributes["gen_ai.operation.name"] == "chat")
            reply = await client.get("/spend/logs", params={"request_id": str(call["gen_ai.response.id"])})
        (row,) = reply.json()
        assert row["api_key"] == call["watchkeeper.key.hash"]
        assert (row["prompt_tokens"], row["completion_tokens"]) == (
            call["gen_ai.usage.input_tokens"],
            call["gen_ai.usage.output_tokens"],
        )


async def test_a_runaway_goes_on_through_429_until_it_is_cleared(tmp_path: Path) -> None:
    async with watched_world(tmp_path, pace=20) as (world, spans):
        world.control(CallersControl(fault=CallerFault.RUNAWAY, agent="research-agent"))
        key = next(each for each in world.info.agents if each.name == "research-agent").key_hash
        async with httpx.AsyncClient(base_url=world.info.gateway_url, headers=master(world), trust_env=False) as client:
            assert (await client.post("/key/update", json={"key": key, "rpm_limit": 3})).status_code == 200

        def refused(seen: list[tuple[str, Attributes]]) -> bool:
            return sum(attributes.get("error.type") == "429" for _, attributes in seen) >= 10

        await spans.until(refused)
        status = agent(world, "research-agent")
        assert (status.fault, status.failed) == (CallerFault.RUNAWAY, 0)
        tool_calls = Counter(
            (str(attributes["watchkeeper.run.id"]), str(attributes["gen_ai.tool.call.arguments"]))
            for _, attributes in spans.all
            if attributes["gen_ai.agent.name"] == "research-agent" and "gen_ai.tool.name" in attributes
        )
        ((run_id, _), repeats) = tool_calls.most_common(1)[0]
        assert repeats >= 10
        assert ("invoke_agent research-agent", run_id) not in {(n, a["watchkeeper.run.id"]) for n, a in spans.all}
        world.control(CallersControl(fault=CallerFault.NONE))
        await spans.until(
            lambda seen: ("invoke_agent research-agent", run_id) in {(n, a["watchkeeper.run.id"]) for n, a in seen}
        )
        assert agent(world, "research-agent").fault is CallerFault.NONE


async def test_the_control_server_switches_faults_and_names_what_it_does_not_know(tmp_path: Path) -> None:
    config = LabConfig(directory=tmp_path, pace=0)
    async with (
        open_world(config, SystemClock()) as world,
        httpx.AsyncClient(base_url=world.info.control_url, trust_env=False) as control,
    ):
        spiking = (await control.post("/_lab/callers", json={"fault": "cost_spike"})).json()["agents"]
        assert {each["name"]: each["fault"] for each in spiking}["support-bot"] == "cost_spike"
        unknown = await control.post("/_lab/callers", json={"fault": "runaway", "agent": "suport-bot"})
        assert (unknown.status_code, unknown.json()) == (
            404,
            {"error": 'no agent "suport-bot" (did you mean "support-bot"?)'},
        )
        assert (await control.post("/_lab/callers", json={"fault": "flood"})).status_code == 422
        assert (await control.get("/_lab/info")).json()["gateway_url"] == world.info.gateway_url


async def test_lab_json_holds_no_key_and_the_files_are_private(tmp_path: Path) -> None:
    async with open_world(LabConfig(directory=tmp_path, pace=0), SystemClock()) as world:
        info = world.info
    text = (tmp_path / "lab.json").read_text()
    private = [info.master_key_file, info.journal_file, *(each.key_file for each in info.agents)]
    for path in private:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for path in (info.master_key_file, *(each.key_file for each in info.agents)):
        assert path.read_text().strip() not in text
    assert {each.model_id: each.manageable for each in info.deployments} == {
        "dep-yaml": False,
        "dep-a": True,
        "dep-b": True,
    }


async def test_a_lab_started_again_keeps_its_keys_and_limits(tmp_path: Path) -> None:
    config = LabConfig(directory=tmp_path, pace=0)
    async with open_world(config, SystemClock()) as world:
        first = world.info.agents
        body = {"key": first[0].key_hash, "max_budget": 2.5}
        async with httpx.AsyncClient(base_url=world.info.gateway_url, headers=master(world), trust_env=False) as client:
            assert (await client.post("/key/update", json=body)).status_code == 200
    async with open_world(config, SystemClock()) as world:
        assert world.info.agents == first
        assert world.gateway.store.keys[first[0].key_hash].max_budget == 2.5
        assert len(world.gateway.store.keys) == len(first)


async def test_sigterm_stops_the_lab_cleanly(tmp_path: Path) -> None:
    async with lab_process(tmp_path, "--pace", "2") as lab:
        lab.process.terminate()
        assert await asyncio.wait_for(lab.process.wait(), 20) == 0
