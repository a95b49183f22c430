"""From the inbox into the state: it goes on after a failed read, and no signal is applied twice or holds up another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
from tests.signals.wire_samples import call

from watchkeeper.agents.pump import Pump
from watchkeeper.bus.memory import MemoryBus
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.errors import StoreError
from watchkeeper.core.signals import Signal
from watchkeeper.signals.inbox import Inbox
from watchkeeper.store.engine import Store


class State:
    """Takes what it is given, but for one signal."""

    def __init__(self, poison: str = "") -> None:
        self.taken: list[str] = []
        self.poison = poison

    def apply(self, signal: Signal, received: datetime) -> None:
        if signal.id == self.poison:
            raise RuntimeError("a bug")
        self.taken.append(signal.id)


class Room:
    def __init__(self, store: Store, bus: MemoryBus, clock: ManualClock) -> None:
        self.inbox = Inbox(store, clock, 100)
        self.state = State()
        signals: Any = self.state
        self.pump = Pump(store, self.inbox, bus, signals, clock)


@pytest.fixture
async def room(store: Store) -> AsyncIterator[Room]:
    clock = ManualClock()
    bus = MemoryBus(clock)
    yield Room(store, bus, clock)
    await bus.close()


async def test_after_a_failed_read_it_goes_on_where_it_was(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    await room.inbox.accept("test", [call("a")])
    await room.pump.catch_up()

    async def gone(*_: object) -> None:
        raise StoreError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(room.inbox, "after", gone)
        with pytest.raises(StoreError):
            await room.pump.catch_up()
    await room.inbox.accept("test", [call("b")])
    assert await room.pump.catch_up() == 1
    assert room.state.taken == ["a", "b"]


async def test_two_readers_at_once_apply_each_signal_once(room: Room) -> None:
    await room.inbox.accept("test", [call(name) for name in "abc"])
    counts = await asyncio.gather(room.pump.catch_up(), room.pump.catch_up())
    assert sum(counts) == 3
    assert room.state.taken == ["a", "b", "c"]


async def test_a_signal_that_cannot_be_applied_does_not_hold_up_the_next(room: Room) -> None:
    room.state.poison = "b"
    await room.inbox.accept("test", [call(name) for name in "abc"])
    with pytest.raises(RuntimeError):
        await room.pump.catch_up()
    await room.pump.catch_up()
    assert room.state.taken == ["a", "c"]
