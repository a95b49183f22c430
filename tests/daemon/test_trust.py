"""Invariant 11: trust comes back only with a real write and a real turn of the sequencer, and not every second."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from tests.testbed.ledgers import Log, draft

from watchkeeper.agents.outbox import Outbox, SinkError
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.entries import EntryType
from watchkeeper.core.errors import LedgerError
from watchkeeper.daemon.health import Health
from watchkeeper.daemon.trust import CALM_S, CHECK_S, FIRST_S, LONGEST_S, Trust
from watchkeeper.store.engine import Store


async def _nobody_disputes() -> None:
    return None


class Pager:
    name = "pager"

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.broken = False
        self.tries = 0

    async def send(self, dedup: str, body: str) -> None:
        self.tries += 1
        if self.broken:
            raise SinkError("broken")
        self.heard.append(json.loads(body)["kind"])


class Room:
    def __init__(self, store: Store) -> None:
        self.clock, self.pager = ManualClock(), Pager()
        self.health = Health(self.clock)
        self.log = Log(store, self.clock)
        self.outbox = Outbox(store, self.clock, (self.pager,))
        self.trust = Trust(
            store,
            self.log.ledger,
            self.log.sequencer,
            self.log.reader,
            self.health,
            self.outbox,
            self.clock,
            "production",
            _nobody_disputes,
        )

    async def pass_(self, seconds: float) -> int:
        """Time goes by, with a look every `CHECK_S`; returns after how many of them it acted (all, if it did not)."""
        for look in range(int(seconds / CHECK_S)):
            if self.health.acting:
                return look
            self.clock.advance(CHECK_S)
            await self.trust.check()
        return int(seconds / CHECK_S)

    async def gaps(self) -> int:
        return len(await self.log.reader.find(types=(EntryType.GAP,)))


@pytest.fixture
def room(store: Store) -> Room:
    return Room(store)


@asynccontextmanager
async def broken_log(room: Room, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[float]]:
    """The sequencer refuses what waits; yields when it was tried."""
    tried: list[float] = []
    await room.log.append(draft())

    async def refuse() -> int:
        tried.append(room.clock.monotonic())
        raise LedgerError("the head is not a tree")

    with monkeypatch.context() as patched:
        patched.setattr(room.log.sequencer, "run_once", refuse)
        yield tried


async def test_invariant_11_a_broken_log_is_tried_with_growing_pauses_and_told_once(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with broken_log(room, monkeypatch) as tried:
        room.health.distrust("ledger_unavailable")
        await room.pass_(600)
        assert not room.health.acting
        pauses = [round(later - earlier) for earlier, later in pairwise(tried)]
        assert pauses == sorted(pauses)
        assert (pauses[0], pauses[-1]) == (2 * FIRST_S, LONGEST_S)
        assert room.pager.heard == ["acting_stopped"]
    assert await room.log.reader.find(types=(EntryType.GAP,)) == [], "a broken log gets no entry more"
    await room.pass_(2 * LONGEST_S)
    assert room.health.acting
    assert await room.gaps() == 1
    assert await room.outbox.send_due("pager") == 1
    assert room.pager.heard == ["acting_stopped", "acting_resumed"]


async def test_a_gap_whose_entry_is_not_taken_up_does_not_end_the_distrust(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be written, but nobody sequences it: a second entry tells the rest of the interval."""

    async def nothing() -> int:
        return 0

    room.health.distrust("store_unavailable")
    start = room.clock.now()
    with monkeypatch.context() as patched:
        patched.setattr(room.log.sequencer, "run_once", nothing)
        patched.setattr("watchkeeper.daemon.trust.LOOK_S", 0)
        await room.pass_(3)
        assert not room.health.acting
    await room.pass_(LONGEST_S)
    assert room.health.acting
    found = [each.envelope.data for each in await room.log.reader.find(types=(EntryType.GAP,))]
    assert len(found) == 2
    assert found[0]["since"] == start.isoformat().replace("+00:00", ".000000Z")
    assert found[0]["until"] == found[1]["since"]


async def test_a_fault_that_comes_and_goes_is_believed_to_be_over_ever_more_slowly(room: Room) -> None:
    waits = []
    for _ in range(8):
        room.health.distrust("store_unavailable")
        waits.append(await room.pass_(10 * LONGEST_S))
        assert room.health.acting
    assert waits == sorted(waits)
    assert waits[-1] >= LONGEST_S
    room.clock.advance(CALM_S)
    await room.trust.check()
    room.health.distrust("store_unavailable")
    assert await room.pass_(LONGEST_S) == waits[0], "after a calm time it begins anew"


async def test_people_who_could_not_be_told_are_told_at_a_later_try(room: Room) -> None:
    room.pager.broken = True
    room.health.distrust("clock_went_back")
    room.clock.step_wall(-60)
    await room.pass_(30)
    assert 1 < room.pager.tries < 10
    room.pager.broken = False
    await room.pass_(LONGEST_S)
    assert room.pager.heard == ["acting_stopped"]
    assert not room.health.acting, "the clock is still wrong"
