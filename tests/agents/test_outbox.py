"""Escalations reach people: durable, retried, deduplicated, and loud when they cannot be delivered."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs
from tests.testbed.receiver import Receiver

from watchkeeper.agents.outbox import Notice, Outbox, WebhookConfig, WebhookSink
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.ids import IncidentId
from watchkeeper.store.engine import Store


def notice(clock: ManualClock, reason: str = "novel_cause") -> Notice:
    return Notice(
        incident=IncidentId("inc_1"),
        kind="escalation",
        reason=reason,
        service="chat",
        environment="demo",
        mode="runaway_loop",
        subject="agent:a",
        at=clock.now(),
    )


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as opened:
        yield opened


def outbox(store: Store, clock: ManualClock, client: httpx.AsyncClient, url: str) -> Outbox:
    config = WebhookConfig(name="pager", url=SecretStr(url), bearer=SecretStr("tok-secret"))
    return Outbox(store, clock, (WebhookSink(config, client),), loud_after=3)


async def put(store: Store, box: Outbox, said: Notice) -> None:
    async with store.write() as tx:
        await box.put(tx, said)


async def test_a_notice_is_delivered_once_with_its_dedup_key(store: Store, client: httpx.AsyncClient) -> None:
    clock = ManualClock()
    with Receiver() as receiver:
        box = outbox(store, clock, client, receiver.url)
        await put(store, box, notice(clock))
        assert await box.send_due() == 1
        assert await box.send_due() == 0
        (delivery,) = receiver.deliveries
    assert json.loads(delivery.body)["reason"] == "novel_cause"
    assert delivery.headers["authorization"] == "Bearer tok-secret"
    assert delivery.headers["x-watchkeeper-dedup"].startswith("inc_1/escalation/novel_cause/")


async def test_what_rolls_back_is_not_told(store: Store, client: httpx.AsyncClient) -> None:
    clock = ManualClock()
    with Receiver() as receiver:
        box = outbox(store, clock, client, receiver.url)

        async def half() -> None:
            async with store.write() as tx:
                await box.put(tx, notice(clock))
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await half()
        assert await box.send_due() == 0
        assert receiver.deliveries == ()


async def test_a_failing_sink_is_retried_with_growing_pauses_and_its_failure_is_loud(
    store: Store, client: httpx.AsyncClient
) -> None:
    clock = ManualClock()
    with Receiver() as receiver, capture_logs() as logs:
        receiver.status = 503
        box = outbox(store, clock, client, receiver.url)
        await put(store, box, notice(clock))
        for _ in range(3):
            assert await box.send_due() == 0
            assert await box.send_due() == 0
            clock.advance(400)
        assert (await box.status()).failing == 1
        assert [entry["log_level"] for entry in logs] == ["warning", "warning", "error"]
        assert "tok-secret" not in repr(logs)
        receiver.status = 200
        assert await box.send_due() == 1
        assert len(receiver.deliveries) == 4
    status = await box.status()
    assert (status.waiting, status.failing) == (0, 0)


async def test_invariant_11_without_the_database_people_are_told_directly(client: httpx.AsyncClient) -> None:
    clock = ManualClock()
    with Receiver() as receiver:
        box = outbox(Store("sqlite+aiosqlite:////nonexistent/dir/x.db"), clock, client, receiver.url)
        assert await box.tell_directly(notice(clock, "recording_impossible"))
        assert len(receiver.deliveries) == 1
        receiver.status = 500
        assert not await box.tell_directly(notice(clock))
