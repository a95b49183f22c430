"""The poller against the real proxy."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr

from watchkeeper.core.clock import SystemClock
from watchkeeper.core.signals import Call, ErrorClass, Sample
from watchkeeper.signals.litellm import LiteLLMPoller, LiteLLMSource, Polled

if TYPE_CHECKING:
    from tests.testbed.litellm import LiteLLM
    from tests.testbed.upstream import Upstreams

pytestmark = pytest.mark.peer

WRITTEN_WITHIN_S = 60


@pytest.fixture
def group(litellm: LiteLLM, upstreams: Upstreams) -> Iterator[str]:
    """A group of one deployment, named like it, at the first provider."""
    name = f"wire-{uuid4().hex[:8]}"
    litellm.admin.add_deployment(name, name, upstreams.first.api_base)
    yield name
    litellm.admin.delete_deployment(name)


def source(proxy: LiteLLM) -> LiteLLMSource:
    return LiteLLMSource(name="real", base_url=proxy.base_url, admin_key=SecretStr(proxy.admin_key))


async def test_the_real_spend_log(litellm: LiteLLM, upstreams: Upstreams, group: str) -> None:
    from tests.testbed.upstream import Mode

    admin = litellm.admin
    key = await asyncio.to_thread(admin.new_key, f"{group}-key")
    replies = []
    for mode in (Mode.OK, Mode.SERVER_ERROR, Mode.RATE_LIMIT, Mode.BAD_KEY):
        upstreams.first.mode = mode
        replies.append(await asyncio.to_thread(admin.chat, key, group))
    await asyncio.to_thread(admin.update_key, key, rpm_limit=0)
    upstreams.first.mode = Mode.OK
    replies.append(await asyncio.to_thread(admin.chat, key, group))
    expected = [None, ErrorClass.SERVER, ErrorClass.RATE_LIMITED, ErrorClass.AUTH, ErrorClass.LIMITED]
    names = [replies[0].json()["id"], *(reply.headers["x-litellm-call-id"] for reply in replies[1:])]

    async with httpx.AsyncClient(trust_env=False) as client:
        polling = LiteLLMPoller(source(litellm), client, SystemClock())
        polled, found = await _until(polling, set(names))
    assert [found[name].error for name in names] == expected
    assert {found[name].key for name in names} == {key.hash}
    assert {(found[name].deployment, found[name].model_group) for name in names[:4]} == {(group, group)}
    assert {found[name].provider for name in names[:4]} == {f"127.0.0.1:{upstreams.first.port}"}
    assert (found[names[4]].deployment, found[names[4]].provider) == ("", "")
    assert found[names[0]].usage.total == replies[0].json()["usage"]["total_tokens"]
    assert found[names[0]].cost_usd == pytest.approx(float(replies[0].headers["x-litellm-response-cost"]))
    assert {str(edge.target) for edge in polled.edges if edge.source.id == group} == {
        f"deployment:{group}",
        f"provider:127.0.0.1:{upstreams.first.port}",
    }
    assert group in {signal.subject.id for signal in polled.signals if isinstance(signal, Sample)}


async def _until(polling: LiteLLMPoller, names: set[str]) -> tuple[Polled, dict[str, Call]]:
    """Polls until the proxy has written all rows; the first poll alone has the inventory."""
    first = polled = await polling.poll()
    found = _calls(first)
    async with asyncio.timeout(WRITTEN_WITHIN_S):
        while not names <= found.keys():
            polling.settle(polled)
            await asyncio.sleep(0.5)
            polled = await polling.poll()
            found |= _calls(polled)
    return first, found


def _calls(polled: Polled) -> dict[str, Call]:
    return {signal.id: signal for signal in polled.signals if isinstance(signal, Call)}


async def test_the_real_proxy_without_a_database(litellm_yaml: LiteLLM, upstreams: Upstreams) -> None:
    from tests.testbed.upstream import Mode

    async with httpx.AsyncClient(trust_env=False) as client:
        polling = LiteLLMPoller(source(litellm_yaml), client, SystemClock())
        polling.settle(await polling.poll())
        for mode in (Mode.OK, Mode.OK, Mode.SERVER_ERROR):
            upstreams.first.mode = mode
            await asyncio.to_thread(litellm_yaml.admin.chat, None, "yaml-main")
        found: list[Call] = []
        async with asyncio.timeout(WRITTEN_WITHIN_S):
            while len(found) < 3:
                polled = await polling.poll()
                found += [signal for signal in polled.signals if isinstance(signal, Call)]
                polling.settle(polled)
                await asyncio.sleep(0.2)
    assert sorted(str(call.error) for call in found) == ["None", "None", "server"]
    assert {(call.deployment, call.provider) for call in found} == {("yaml-a", f"127.0.0.1:{upstreams.first.port}")}
