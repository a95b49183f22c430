"""The in-process bus under the contract, and its own bounds."""

from __future__ import annotations

import pytest
from tests.bus.contract_suite import BusContract, MakeBus, next_of

from watchkeeper.bus.contract import BusLimits
from watchkeeper.bus.memory import MemoryBus
from watchkeeper.core.clock import ManualClock, SystemClock


class TestMemoryBus(BusContract):
    @pytest.fixture
    def make_bus(self) -> MakeBus:
        return lambda limits: MemoryBus(SystemClock(), limits)


async def test_ids_are_forgotten_after_the_window() -> None:
    clock = ManualClock()
    bus = MemoryBus(clock, BusLimits(dedup_window_s=60))
    assert await bus.publish("t", "k", b"x", "m1")
    clock.advance(59)
    assert not await bus.publish("t", "k", b"x", "m1")
    clock.advance(2)
    assert await bus.publish("t", "k", b"x", "m1")


async def test_invariant_10_dead_letters_are_bounded() -> None:
    bus = MemoryBus(ManualClock(), BusLimits(dead_letters=2))
    messages = bus.subscribe("t", "g")
    for n in range(4):
        await bus.publish("t", "k", b"x", f"m{n}")
        await (await next_of(messages)).term()
    assert [dead.msg_id for dead in await bus.dead_letters("t", "g")] == ["m2", "m3"]


async def test_invariant_10_answered_messages_leave_nothing_behind() -> None:
    bus = MemoryBus(ManualClock())
    messages = bus.subscribe("t", "g")
    for n in range(5_000):
        await bus.publish("t", f"k{n}", b"x", f"m{n}")
        await (await next_of(messages)).ack()
    group = bus._groups["t"]["g"]
    assert (group.backlog, group.lanes) == (0, {})
    assert len(group.timers) < 2_000
