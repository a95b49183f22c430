"""The poller against the lab's gateway, on real sockets, and through to the signal state."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from tests.testbed.labs import MASTER_KEY, LabGateway, open_gateway

from watchkeeper.core.clock import SystemClock
from watchkeeper.core.signals import Call, ErrorClass, Sample
from watchkeeper.core.subjects import Subject, SubjectKind
from watchkeeper.core.topology import Topology
from watchkeeper.lab.gateway.router import RouterSettings
from watchkeeper.lab.gateway.rows import key_hash
from watchkeeper.lab.provider import ProviderMode
from watchkeeper.signals.litellm import LiteLLMPoller, LiteLLMSource
from watchkeeper.signals.state import SignalState, StateConfig


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[LabGateway]:
    async with open_gateway(tmp_path, router=RouterSettings(num_retries=0, cooldown_s=0)) as running:
        yield running


@pytest.fixture
async def polling(lab: LabGateway) -> AsyncIterator[LiteLLMPoller]:
    source = LiteLLMSource(name="lab", base_url=lab.url, admin_key=SecretStr(MASTER_KEY))
    async with httpx.AsyncClient(trust_env=False) as client:
        yield LiteLLMPoller(source, client, SystemClock())


async def told(lab: LabGateway, polling: LiteLLMPoller) -> list[Call]:
    lab.gateway.spend.flush()
    polled = await polling.poll()
    polling.settle(polled)
    return [signal for signal in polled.signals if isinstance(signal, Call)]


async def test_calls_join_with_what_the_caller_saw(lab: LabGateway, polling: LiteLLMPoller) -> None:
    key = await lab.key("caller")
    ok = await lab.chat(key)
    lab.break_provider(0, ProviderMode.BROKEN)
    bad = await lab.chat(key)
    lab.break_provider(0, ProviderMode.RATE_LIMITED)
    limited = await lab.chat(key)
    found = {call.call_id: call for call in await told(lab, polling)}
    assert list(found) == [ok.json()["id"], *(reply.headers["x-litellm-call-id"] for reply in (bad, limited))]
    assert [call.error for call in found.values()] == [None, ErrorClass.SERVER, ErrorClass.RATE_LIMITED]
    assert {(call.key, call.deployment, call.model_group) for call in found.values()} == {
        (key_hash(key), "dep-a", "chat-main")
    }
    assert len({call.provider for call in found.values()}) == 1
    served = found[ok.json()["id"]]
    assert served.usage.total == ok.json()["usage"]["total_tokens"]
    assert served.cost_usd == pytest.approx(float(ok.headers["x-litellm-response-cost"]))
    assert await told(lab, polling) == []


async def test_invariant_12_our_own_limits_blame_nobody(lab: LabGateway, polling: LiteLLMPoller) -> None:
    limited = await lab.key("limited", rpm_limit=0)
    poor = await lab.key("poor", max_budget=0)
    blocked = await lab.key("blocked")
    await lab.admin.post("/key/block", json={"key": key_hash(blocked)})
    for key in (limited, poor, blocked):
        assert (await lab.chat(key)).status_code in (401, 422, 429)
    found = {call.key: call.error for call in await told(lab, polling)}
    assert found == {
        key_hash(limited): ErrorClass.LIMITED,
        key_hash(poor): ErrorClass.LIMITED,
        key_hash(blocked): ErrorClass.OTHER,
    }


async def test_two_openai_compatible_servers_are_two_providers(lab: LabGateway, polling: LiteLLMPoller) -> None:
    key = await lab.key("caller")
    for model in ("chat-main", "chat-spare"):
        await lab.chat(key, model=model)
    assert len({call.provider for call in await told(lab, polling)}) == 2


async def test_the_state_of_deployments_and_links_reach_the_signal_state(
    lab: LabGateway, polling: LiteLLMPoller
) -> None:
    key = await lab.key("caller", team_id="t1")
    lab.break_provider(0, ProviderMode.BROKEN)
    await lab.chat(key)
    lab.gateway.spend.flush()
    polled = await polling.poll()
    samples = {str(signal.subject): signal.value for signal in polled.signals if isinstance(signal, Sample)}
    assert samples == {"deployment:dep-a": 1.0}
    state, now = SignalState(StateConfig(), Topology()), SystemClock().now()
    state.learn(polled.edges, "lab")
    for signal in polled.signals:
        state.apply(signal, now)
    group = Subject(kind=SubjectKind.MODEL, id="chat-main")
    below = {edge.target.id for edge in state.around(group) if edge.source == group}
    assert below == {"dep-a", "dep-b"}
    tally = state.tally(Subject(kind=SubjectKind.DEPLOYMENT, id="dep-a"), now - timedelta(minutes=1), now)
    assert tally.error(ErrorClass.SERVER) == 1
