from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pytest
from tests.signals.wire_samples import call

from watchkeeper.bus.contract import BusLimits
from watchkeeper.bus.memory import MemoryBus
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.errors import InputError, StoreError, UnavailableError
from watchkeeper.core.signals import Signal
from watchkeeper.daemon.health import Health
from watchkeeper.signals.inbox import Inbox
from watchkeeper.signals.intake import TOPIC, Intake
from watchkeeper.store.engine import Store


def refuse(signals: Sequence[Signal], received: datetime) -> None:
    raise AssertionError("nothing is blind here")


async def test_accepted_signals_ring_the_bell_once(store: Store) -> None:
    clock = ManualClock()
    bus, box = MemoryBus(clock), Inbox(store, clock, 100)
    bell = bus.subscribe(TOPIC, "reader")
    intake = Intake(box, bus, Health(clock), refuse)
    await intake.accept("test", [call("a"), call("b")])
    await intake.accept("test", [call("b")])
    last = await intake.accept("test", [call("c")])
    bodies = []
    for _ in range(2):
        message = await anext(bell)
        bodies.append(int(message.body))
        assert len(await box.after(int(message.body), 9)) == (1 if len(bodies) == 1 else 0)
        await message.ack()
    assert bodies[-1] == last.offset
    await bus.close()
    assert [message async for message in bell] == []


@pytest.mark.parametrize("closed", [False, True])
async def test_a_bus_that_takes_nothing_is_no_error_for_the_sender(store: Store, closed: bool) -> None:
    clock = ManualClock()
    bus = MemoryBus(clock, BusLimits(capacity=1, publish_wait_s=0))
    bus.subscribe(TOPIC, "reader")
    box = Inbox(store, clock, 100)
    intake = Intake(box, bus, Health(clock), refuse)
    if closed:
        await bus.close()
    for name in ("a", "b", "c"):
        assert (await intake.accept("test", [call(name)])).new == 1
    assert len(await box.after(0, 9)) == 3
    await bus.close()


async def test_invariant_11_without_the_database_signals_are_seen_and_the_sender_refused(tmp_path: Path) -> None:
    clock = ManualClock()
    seen: list[Signal] = []
    store = Store(f"sqlite+aiosqlite:///{tmp_path / 'without-tables.db'}")
    bus = MemoryBus(clock)
    health = Health(clock)
    intake = Intake(Inbox(store, clock, 100), bus, health, lambda signals, _: seen.extend(signals))
    try:
        with pytest.raises(StoreError):
            await intake.accept("test", [call("a"), call("b")])
    finally:
        await store.close()
        await bus.close()
    assert seen == [call("a"), call("b")]
    assert StoreError.http_status == 503
    assert (health.why, health.gap().signals_seen) == ("store_unavailable", 2)


async def test_invariant_11_while_nothing_is_trusted_nothing_is_taken_and_each_signal_is_counted_once(
    store: Store,
) -> None:
    clock = ManualClock()
    seen: list[Signal] = []
    bus, box, health = MemoryBus(clock), Inbox(store, clock, 100), Health(clock)
    intake = Intake(box, bus, health, lambda signals, _: seen.extend(signals))
    health.distrust("ledger_unavailable")
    for _ in range(2):
        with pytest.raises(UnavailableError, match="ledger_unavailable"):
            await intake.accept("test", [call("a"), call("b")])
    with pytest.raises(InputError):
        await intake.accept("test", [call("nul\x00")])
    assert seen == [call("a"), call("b")]
    assert health.gap().signals_seen == 2
    assert await box.after(0, 9) == []
    await bus.close()


async def test_a_full_inbox_is_not_a_blind_one(store: Store) -> None:
    clock = ManualClock()
    bus = MemoryBus(clock)
    intake = Intake(Inbox(store, clock, 1), bus, Health(clock), refuse)
    with pytest.raises(UnavailableError):
        await intake.accept("test", [call("a"), call("b")])
    await bus.close()
