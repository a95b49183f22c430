"""Escalations reach people: durable, retried, deduplicated, and loud when they cannot be delivered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy import select
from structlog.testing import capture_logs
from tests.testbed.notices import a_notice
from tests.testbed.receiver import Receiver

from watchkeeper.agents.outbox import GIVE_UP, KEEP, Notice, Outbox, SinkError, WebhookConfig, WebhookSink
from watchkeeper.agents.tables import notification
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.errors import ConfigError
from watchkeeper.store.engine import Store


@dataclass
class FakeSink:
    """Keeps the dedup keys that it took. `refuses`: parts of bodies that it fails on; `broken`: it has a fault."""

    name: str
    refuses: tuple[str, ...] = ()
    broken: bool = False
    open: asyncio.Event = field(default_factory=asyncio.Event)
    took: list[str] = field(default_factory=list)
    tries: int = 0

    def __post_init__(self) -> None:
        self.open.set()

    async def send(self, dedup: str, body: str) -> None:
        self.tries += 1
        await self.open.wait()
        if self.broken:
            raise KeyError(dedup)
        if any(part in body for part in self.refuses):
            raise SinkError("refused")
        self.took.append(dedup)


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
        await put(store, box, a_notice(clock.now()))
        assert await box.send_due("pager") == 1
        assert await box.send_due("pager") == 0
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
                await box.put(tx, a_notice(clock.now()))
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await half()
        assert await box.send_due("pager") == 0
        assert receiver.deliveries == ()


async def test_a_failing_sink_is_retried_with_growing_pauses_and_its_failure_is_loud(
    store: Store, client: httpx.AsyncClient
) -> None:
    clock = ManualClock()
    with Receiver() as receiver, capture_logs() as logs:
        receiver.status = 503
        box = outbox(store, clock, client, receiver.url)
        await put(store, box, a_notice(clock.now()))
        for _ in range(3):
            assert await box.send_due("pager") == 0
            assert await box.send_due("pager") == 0
            clock.advance(400)
        assert (await box.status()).failing == 1
        assert [entry["log_level"] for entry in logs] == ["warning", "warning", "error"]
        assert "tok-secret" not in repr(logs)
        receiver.status = 200
        assert await box.send_due("pager") == 1
        assert len(receiver.deliveries) == 4
    status = await box.status()
    assert (status.waiting, status.failing) == (0, 0)


async def test_invariant_11_without_the_database_people_are_told_directly(client: httpx.AsyncClient) -> None:
    clock = ManualClock()
    with Receiver() as receiver:
        box = outbox(Store("sqlite+aiosqlite:////nonexistent/dir/x.db"), clock, client, receiver.url)
        assert await box.tell_directly(a_notice(clock.now(), "recording_impossible"))
        assert len(receiver.deliveries) == 1
        receiver.status = 500
        assert not await box.tell_directly(a_notice(clock.now()))


async def test_invariant_11_a_broken_sink_does_not_keep_the_others_people_in_the_dark() -> None:
    clock, broken, healthy = ManualClock(), FakeSink("a", broken=True), FakeSink("b")
    box = Outbox(Store("sqlite+aiosqlite:////nonexistent/dir/x.db"), clock, (broken, healthy))
    with capture_logs() as logs:
        assert await box.tell_directly(a_notice(clock.now()))
    assert len(healthy.took) == 1
    assert ("notification_not_delivered", "a", "KeyError") in [
        (entry["event"], entry.get("sink"), entry.get("why")) for entry in logs
    ]


async def test_direct_notices_are_told_apart_by_time_and_by_what_they_say(store: Store) -> None:
    clock, sink = ManualClock(), FakeSink("pager")
    box = Outbox(store, clock, (sink,))
    for subject in ("agent:a", "agent:b"):  # two troubles seen in one round
        assert await box.tell_directly(a_notice(clock.now(), "recording_impossible", subject))
    clock.advance(1)
    again = a_notice(clock.now(), "recording_impossible")
    assert await box.tell_directly(again)
    assert len(set(sink.took)) == 3
    assert await box.tell_directly(again)
    assert len(set(sink.took)) == 3


async def test_the_same_notice_put_twice_is_told_once(store: Store) -> None:
    clock, sink = ManualClock(), FakeSink("s" * 64)
    box = Outbox(store, clock, (sink,))
    said = a_notice(clock.now(), "r" * 300)
    await put(store, box, said)
    await put(store, box, said)
    await put(store, box, said.model_copy(update={"subject": "agent:b"}))
    assert await box.send_due(sink.name) == 2
    assert len(set(sink.took)) == 2


async def test_a_sink_that_hangs_holds_up_nobody_else(store: Store) -> None:
    clock, hanging, healthy = ManualClock(), FakeSink("a"), FakeSink("b")
    hanging.open.clear()
    box = Outbox(store, clock, (hanging, healthy))
    for reason in ("one", "two"):
        await put(store, box, a_notice(clock.now(), reason))
    turn = asyncio.create_task(box.send_due("a"))
    assert await box.send_due("b") == 2
    assert not turn.done()
    hanging.open.set()
    assert await turn == 2


@pytest.mark.parametrize("broken", [True, False])
async def test_a_notice_that_a_sink_refuses_does_not_hold_up_the_next(store: Store, broken: bool) -> None:
    clock, sink = ManualClock(), FakeSink("pager", refuses=("poison",), broken=broken)
    box = Outbox(store, clock, (sink,))
    await put(store, box, a_notice(clock.now(), "poison"))
    await put(store, box, a_notice(clock.now(), "plain"))
    assert await box.send_due("pager") == 0
    assert sink.tries == 1  # a sink that fails is not asked for every notice it has
    sink.broken = False
    assert await box.send_due("pager") == 1
    assert [key.split("/")[2] for key in sink.took] == ["plain"]


async def test_an_answer_that_never_comes_is_waited_for_no_longer_than_told(client: httpx.AsyncClient) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sink = WebhookSink(WebhookConfig(name="s", url=SecretStr(f"http://127.0.0.1:{port}"), timeout_s=0.05), client)
    with pytest.raises(SinkError, match="TimeoutError"):
        await sink.send("key", "{}")
    server.close()


@pytest.mark.parametrize("url", ["https://hooks.example:port/s3cret", "ftp://h/s3cret", "s3cret", "http:///s3cret", ""])
def test_an_address_that_cannot_be_called_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        WebhookConfig(name="pager", url=SecretStr(url))
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("bearer", ["", "två", "a b", "a\nb"])
def test_a_bearer_that_fits_no_header_is_refused(bearer: str) -> None:
    with pytest.raises(ValidationError, match="printable ASCII"):
        WebhookConfig(name="pager", url=SecretStr("https://h/"), bearer=SecretStr(bearer))


def test_two_sinks_of_one_name_are_refused(store: Store) -> None:
    with pytest.raises(ConfigError, match="one name"):
        Outbox(store, ManualClock(), (FakeSink("a"), FakeSink("a")))


async def states(store: Store) -> list[str]:
    async with store.read() as tx:
        return sorted((await tx.execute(select(notification.c.state))).scalars())


async def test_what_was_sent_is_forgotten_and_what_cannot_be_sent_is_given_up_loudly(store: Store) -> None:
    clock, good, bad = ManualClock(), FakeSink("good"), FakeSink("bad", refuses=("",))
    box = Outbox(store, clock, (good, bad))
    await put(store, box, a_notice(clock.now()))
    assert (await box.send_due("good"), await box.send_due("bad")) == (1, 0)
    clock.advance(GIVE_UP.total_seconds())
    await box.prune()
    assert await states(store) == ["sent", "waiting"]
    clock.advance(1)
    with capture_logs() as logs:
        await box.prune()
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("notification_given_up", "error")]
    assert await states(store) == ["given_up", "sent"]
    status = await box.status()
    assert (status.waiting, status.failing) == (0, 1)
    assert await box.send_due("bad") == 0
    assert bad.tries == 1
    clock.advance(KEEP.total_seconds())
    await box.prune()
    assert await states(store) == []


async def test_what_waits_for_a_sink_that_is_no_more_is_shown_and_then_given_up(store: Store) -> None:
    clock = ManualClock()
    await put(store, Outbox(store, clock, (FakeSink("old"),)), a_notice(clock.now()))
    box = Outbox(store, clock, (FakeSink("new"),))
    with capture_logs() as logs:
        await box.prune()
    assert [(entry["event"], entry["sink"], entry["waiting"]) for entry in logs] == [
        ("notification_sink_not_configured", "old", 1)
    ]
    assert (await box.status()).failing == 1
    clock.advance(GIVE_UP.total_seconds() + 1)
    await box.prune()
    assert await states(store) == ["given_up"]
