"""What every bus must do (watchkeeper.bus.contract). An implementation subclasses it and gives `make_bus`."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest

from watchkeeper.bus.contract import Bus, BusClosedError, BusFullError, BusLimits, Message
from watchkeeper.core.errors import InputError

MakeBus = Callable[[BusLimits], Bus]
QUICK = BusLimits(ack_wait_s=0.1, max_deliver=3, publish_wait_s=0.05)
PATIENT = BusLimits()


async def next_of(messages: AsyncIterator[Message]) -> Message:
    async with asyncio.timeout(10):
        return await anext(messages)


async def nothing_comes(messages: AsyncIterator[Message], within_s: float = 0.05) -> bool:
    """Waits a little; a bus that is slower than this shows the fault in another test."""
    task = asyncio.ensure_future(anext(messages))
    await asyncio.wait({task}, timeout=within_s)
    if task.done():
        return False
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return True


class BusContract:
    @pytest.fixture
    def make_bus(self) -> MakeBus:
        raise NotImplementedError

    async def test_every_group_gets_every_message_and_its_subscribers_share_them(self, make_bus: MakeBus) -> None:
        bus = make_bus(PATIENT)
        first, second, other = bus.subscribe("t", "a"), bus.subscribe("t", "a"), bus.subscribe("t", "b")
        for n in range(4):
            assert await bus.publish("t", f"k{n}", b"%d" % n, f"m{n}")
        shared = [await next_of(first), await next_of(second), await next_of(first), await next_of(second)]
        assert sorted(message.body for message in shared) == [b"0", b"1", b"2", b"3"]
        assert sorted([(await next_of(other)).body for _ in range(4)]) == [b"0", b"1", b"2", b"3"]
        await bus.close()

    async def test_the_next_message_of_a_key_waits_for_the_one_before(self, make_bus: MakeBus) -> None:
        bus = make_bus(PATIENT)
        messages = bus.subscribe("t", "g")
        for msg_id, key in (("m1", "k"), ("m2", "k"), ("m3", "other")):
            await bus.publish("t", key, msg_id.encode(), msg_id)
        one, three = await next_of(messages), await next_of(messages)
        assert (one.body, three.body) == (b"m1", b"m3")
        assert await nothing_comes(messages)
        await one.ack()
        assert (await next_of(messages)).body == b"m2"
        await bus.close()

    async def test_unanswered_comes_again_and_a_late_ack_counts(self, make_bus: MakeBus) -> None:
        bus = make_bus(QUICK)
        messages = bus.subscribe("t", "g")
        await bus.publish("t", "k", b"x", "m1")
        one = await next_of(messages)
        again = await next_of(messages)
        assert (one.deliveries, again.deliveries, again.msg_id) == (1, 2, "m1")
        await one.ack()
        assert await nothing_comes(messages, 0.3)
        assert await bus.dead_letters("t", "g") == ()
        await bus.close()

    async def test_a_refused_message_comes_again_after_its_delay_and_its_key_waits(self, make_bus: MakeBus) -> None:
        bus = make_bus(PATIENT)
        messages = bus.subscribe("t", "g")
        await bus.publish("t", "k", b"1", "m1")
        await bus.publish("t", "k", b"2", "m2")
        await (await next_of(messages)).nak(0.1)
        assert await nothing_comes(messages)
        again = await next_of(messages)
        assert (again.body, again.deliveries) == (b"1", 2)
        await again.ack()
        assert (await next_of(messages)).body == b"2"
        await bus.close()

    async def test_after_max_deliver_it_is_a_dead_letter_and_the_key_goes_on(self, make_bus: MakeBus) -> None:
        bus = make_bus(QUICK)
        messages = bus.subscribe("t", "g")
        await bus.publish("t", "k", b"poison", "m1")
        await bus.publish("t", "k", b"good", "m2")
        for _ in range(QUICK.max_deliver):
            poison = await next_of(messages)
            assert poison.body == b"poison"
            await poison.nak()
        good = await next_of(messages)
        await good.ack()
        letters = await bus.dead_letters("t", "g")
        assert good.body == b"good"
        assert [(dead.msg_id, dead.deliveries, dead.reason) for dead in letters] == [("m1", 3, "max_deliver")]
        await bus.close()

    async def test_term_buries_at_once(self, make_bus: MakeBus) -> None:
        bus = make_bus(PATIENT)
        messages = bus.subscribe("t", "g")
        await bus.publish("t", "k", b"x", "m1")
        await (await next_of(messages)).term()
        assert [dead.reason for dead in await bus.dead_letters("t", "g")] == ["terminated"]
        assert await nothing_comes(messages)
        await bus.close()

    async def test_the_same_id_is_accepted_once_within_the_window(self, make_bus: MakeBus) -> None:
        bus = make_bus(PATIENT)
        messages = bus.subscribe("t", "g")
        assert await bus.publish("t", "k", b"x", "m1")
        assert not await bus.publish("t", "k", b"x", "m1")
        await (await next_of(messages)).ack()
        assert not await bus.publish("t", "k", b"x", "m1")
        assert await nothing_comes(messages)
        await bus.close()

    async def test_invariant_10_a_full_topic_refuses_by_name_and_accepts_again_when_there_is_room(
        self, make_bus: MakeBus
    ) -> None:
        bus = make_bus(QUICK.model_copy(update={"capacity": 2, "ack_wait_s": 30.0}))
        messages = bus.subscribe("t", "g")
        for n in range(2):
            await bus.publish("t", "k", b"x", f"m{n}")
        with pytest.raises(BusFullError):
            await bus.publish("t", "k", b"x", "m2")
        await (await next_of(messages)).ack()
        assert await bus.publish("t", "k", b"x", "m2")
        await bus.close()

    async def test_invariant_10_too_large_a_body_is_refused(self, make_bus: MakeBus) -> None:
        bus = make_bus(BusLimits(max_body=4))
        with pytest.raises(InputError):
            await bus.publish("t", "k", b"12345", "m1")
        await bus.close()

    async def test_closing_ends_subscriptions_and_refuses_publishers(self, make_bus: MakeBus) -> None:
        bus = make_bus(PATIENT)
        messages = bus.subscribe("t", "g")
        waiting = asyncio.ensure_future(anext(messages))
        await asyncio.sleep(0)
        await bus.close()
        with pytest.raises(StopAsyncIteration):
            await waiting
        with pytest.raises(BusClosedError):
            await bus.publish("t", "k", b"x", "m1")

    async def test_order_per_key_and_nothing_lost_with_competing_and_failing_consumers(self, make_bus: MakeBus) -> None:
        bus = make_bus(BusLimits(max_deliver=50, capacity=64))
        count, done = 400, asyncio.Event()
        handled: dict[str, list[int]] = defaultdict(list)
        tries: Counter[str] = Counter()

        async def consume(messages: AsyncIterator[Message]) -> None:
            async for message in messages:
                tries[message.msg_id] += 1
                if tries[message.msg_id] == 1 and int(message.body) % 7 == 0:
                    await message.nak()
                    continue
                handled[message.key].append(int(message.body))
                await asyncio.sleep(0)
                await message.ack()
                if sum(map(len, handled.values())) == count:
                    done.set()

        consumers = [asyncio.ensure_future(consume(bus.subscribe("t", "g"))) for _ in range(4)]
        for n in range(count):
            await bus.publish("t", f"k{n % 5}", b"%d" % n, f"m{n}")
        async with asyncio.timeout(30):
            await done.wait()
        await bus.close()
        await asyncio.gather(*consumers)
        assert {key: values == sorted(values) for key, values in handled.items()} == {f"k{n}": True for n in range(5)}
        assert sorted(n for values in handled.values() for n in values) == list(range(count))
