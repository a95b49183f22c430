from __future__ import annotations

import asyncio
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.signals.wire_samples import AT, call, sample
from tests.testbed.stores import create_tables

from watchkeeper.core.clock import ManualClock
from watchkeeper.core.errors import InputError, StoreError, UnavailableError
from watchkeeper.core.signals import Signal
from watchkeeper.signals.inbox import PRUNE_BATCH, Accepted, Inbox
from watchkeeper.store.engine import Store


def inbox(store: Store, clock: ManualClock | None = None, capacity: int = 100_000) -> Inbox:
    return Inbox(store, clock or ManualClock(), capacity)


async def content(box: Inbox) -> list[Signal]:
    return [signal for _, _, signal in await box.after(0, 100_000)]


async def newest(box: Inbox) -> int:
    return (await box.after(0, 100_000))[-1][0]


async def test_what_was_accepted_is_there_after_a_restart(store: Store) -> None:
    clock = ManualClock()
    signals: list[Signal] = [call("a"), sample(0.1), call("b")]
    accepted = await inbox(store, clock).accept("test", signals)
    assert (accepted.new, accepted.duplicates) == (3, 0)
    reopened = Store(store.url.render_as_string(hide_password=False))
    try:
        found = await inbox(reopened).after(0, 10)
    finally:
        await reopened.close()
    assert [signal for _, _, signal in found] == signals
    assert {received for _, received, _ in found} == {clock.now()}
    assert found[-1][0] == accepted.offset


async def test_duplicates_are_told_apart_within_a_request_and_between(store: Store) -> None:
    box = inbox(store)
    first = await box.accept("test", [call("a"), call("a"), call("a", "litellm/other"), call("b")])
    assert (first.new, first.duplicates) == (3, 1)
    assert await box.accept("test", [call("b"), call("a")]) == Accepted(0, 2, 0)
    last = await box.accept("test", [call("b"), call("c")])
    assert (last.new, last.duplicates) == (1, 1)
    assert [offset for offset, _, _ in await box.after(first.offset, 10)] == [last.offset]


async def test_nothing_costs_nothing(store: Store) -> None:
    assert await inbox(store).accept("test", []) == Accepted(0, 0, 0)
    assert await content(inbox(store)) == []


async def test_the_first_of_two_signals_with_one_id_counts(store: Store) -> None:
    box = inbox(store)
    await box.accept("test", [sample(1.0), sample(2.0)])
    await box.accept("test", [sample(3.0)])
    assert await content(box) == [sample(1.0)]


async def test_a_full_inbox_refuses_whole_requests_and_takes_what_it_knows(store: Store) -> None:
    clock = ManualClock()
    box = inbox(store, clock, capacity=3)
    await box.accept("test", [call("a"), call("b")])
    with pytest.raises(UnavailableError, match="the inbox is full"):
        await box.accept("test", [call("c"), call("d")])
    assert await content(box) == [call("a"), call("b")]
    assert (await box.accept("test", [call("a"), call("b"), call("c")])).new == 1
    assert (await box.accept("test", [call("a")])).duplicates == 1
    with pytest.raises(UnavailableError):
        await box.accept("test", [call("d")])
    clock.advance(1)
    assert await box.prune(clock.now(), await newest(box)) == 3
    assert (await box.accept("test", [call("d")])).new == 1


async def test_capacity_is_seen_across_processes(store: Store) -> None:
    clock = ManualClock()
    one, other = inbox(store, clock, capacity=2), inbox(store, clock, capacity=2)
    await one.accept("test", [call("a")])
    await other.accept("test", [call("b")])
    clock.advance(60)
    with pytest.raises(UnavailableError):
        await one.accept("test", [call("c")])


async def test_concurrent_requests_with_the_same_signals_store_each_once(store: Store) -> None:
    names = [f"n{number}" for number in range(60)]
    boxes = [inbox(store) for _ in range(6)]
    orders = [names, names[::-1], names[20:], names[:40], names[10:50], names]
    replies = await asyncio.gather(
        *(box.accept("test", [call(name) for name in order]) for box, order in zip(boxes, orders, strict=True))
    )
    assert sum(reply.new for reply in replies) == len(names)
    assert sum(reply.new + reply.duplicates for reply in replies) == sum(len(order) for order in orders)
    assert sorted(signal.id for signal in await content(boxes[0])) == sorted(names)


async def test_a_reader_that_follows_concurrent_writers_misses_nothing(store: Store) -> None:
    """Offsets become visible in order: whoever has seen n finds nothing new at or below n."""
    box, seen, offset = inbox(store), [], 0

    async def write(writer: int) -> None:
        for number in range(15):
            await box.accept("test", [call(f"w{writer}-{number}-{part}") for part in range(3)])

    writers = asyncio.gather(*(write(writer) for writer in range(4)))
    while not writers.done() or await box.after(offset, 1):
        batch = await box.after(offset, 7)
        seen += [signal.id for _, _, signal in batch]
        offset = max((number for number, _, _ in batch), default=offset)
        await asyncio.sleep(0)
    await writers
    assert len(seen) == len(set(seen)) == 4 * 15 * 3


async def test_offsets_go_on_after_everything_was_pruned(store: Store) -> None:
    clock = ManualClock()
    box = inbox(store, clock)
    before = await box.accept("test", [call("a"), call("b")])
    clock.advance(10)
    await box.accept("test", [call("kept")])
    assert await box.prune(clock.now(), await newest(box)) == 2
    assert await content(box) == [call("kept")]
    assert await box.prune(clock.now() + timedelta(seconds=1), await newest(box)) == 1
    assert await content(box) == []
    again = await box.accept("test", [call("a")])
    assert again.new == 1
    assert again.offset > before.offset + 1


async def test_pruning_goes_on_beyond_one_batch(store: Store) -> None:
    clock = ManualClock()
    box = inbox(store, clock)
    await box.accept("test", [call(str(number)) for number in range(PRUNE_BATCH + 5)])
    assert len(await box.after(0, 2 * PRUNE_BATCH)) == PRUNE_BATCH + 5
    assert await box.prune(clock.now() + timedelta(seconds=1), await newest(box)) == PRUNE_BATCH + 5
    assert await box.after(0, 1) == []


@pytest.mark.parametrize("broken", [sample(1.0, "a\x00b")], ids=repr)
async def test_what_no_database_can_hold_is_the_senders_error_and_stores_nothing(store: Store, broken: Signal) -> None:
    box = inbox(store)
    with pytest.raises(InputError) as caught:
        await box.accept("test", [call("a"), broken])
    assert caught.value.place == "signals[1]"
    assert await content(box) == []


async def test_a_database_without_the_table_is_a_store_error(tmp_path: Path) -> None:
    store = Store(f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}")
    try:
        with pytest.raises(StoreError):
            await inbox(store).accept("test", [call("a")])
    finally:
        await store.close()


NAMES = [f"n{number}" for number in range(8)]
REQUESTS = st.lists(st.lists(st.sampled_from(NAMES), max_size=6), max_size=8)


@settings(max_examples=25)
@given(requests=REQUESTS)
def test_any_split_and_repetition_gives_the_same_content(requests: list[list[str]]) -> None:
    async def run(directory: Path) -> None:
        store = Store(f"sqlite+aiosqlite:///{directory / 'inbox.db'}")
        try:
            await create_tables(store)
            box = inbox(store)
            for request in requests:
                await box.accept("test", [call(name) for name in request])
            for name in NAMES:
                await box.accept("test", [call(name)])
            found = await content(box)
        finally:
            await store.close()
        assert sorted(signal.id for signal in found) == NAMES
        assert {signal.at for signal in found} == {AT}

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(run(Path(directory)))


async def test_what_readers_have_not_kept_is_not_pruned_however_old(store: Store) -> None:
    clock = ManualClock()
    box = inbox(store, clock)
    kept = await box.accept("test", [call("a")])
    await box.accept("test", [call("b")])
    clock.advance(3600)
    assert await box.prune(clock.now(), kept.offset) == 1
    assert await content(box) == [call("b")]


@pytest.mark.parametrize("year", [1, 68, 999])
async def test_an_instant_of_long_ago_does_not_block_the_readers(store: Store, year: int) -> None:
    old = call("old").model_copy(update={"at": AT.replace(year=year), "started": AT.replace(year=year)})
    box = inbox(store)
    await box.accept("test", [old, call("new")])
    assert await content(box) == [old, call("new")]
