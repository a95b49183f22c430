"""The sequencer looks soon after an append, and otherwise seldom."""

from __future__ import annotations

import pytest
from tests.testbed.ledgers import Log, draft

from watchkeeper.core.clock import ManualClock
from watchkeeper.daemon.sequencing import LINGER_S, OTHERS_S, SEQUENCE_S, Sequencing
from watchkeeper.ledger.sequencer import Sequencer
from watchkeeper.store.engine import Store


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One for each look of a sequencer."""
    seen: list[None] = []
    real = Sequencer.run_once

    async def counted(self: Sequencer) -> int:
        seen.append(None)
        return await real(self)

    monkeypatch.setattr(Sequencer, "run_once", counted)
    return seen


async def test_an_append_is_sequenced_at_the_next_turn_and_an_idle_daemon_looks_seldom(
    store: Store, looks: list[None]
) -> None:
    clock = ManualClock()
    log = Log(store, clock)
    sequencing = Sequencing(log.sequencer, log.ledger, clock)
    for _ in range(round(10 / SEQUENCE_S)):
        assert await sequencing.turn() == 0
        clock.advance(SEQUENCE_S)
    assert len(looks) == round(10 / OTHERS_S)
    await sequencing.turn()
    clock.advance(SEQUENCE_S)
    await log.append(draft())
    assert await sequencing.turn() == 1


async def test_what_is_committed_late_or_by_another_process_is_found(store: Store, looks: list[None]) -> None:
    clock = ManualClock()
    log = Log(store, clock)
    sequencing = Sequencing(log.sequencer, log.ledger, clock)
    await log.append(draft())
    assert await sequencing.turn() == 1
    clock.advance(LINGER_S - SEQUENCE_S)
    other = log.writer("other")
    async with store.write() as tx:
        await other.append(tx, draft())
    assert await sequencing.turn() == 1  # still at the fast pace
    clock.advance(SEQUENCE_S)
    async with store.write() as tx:
        await other.append(tx, draft())
    assert await sequencing.turn() == 0
    clock.advance(OTHERS_S)
    assert await sequencing.turn() == 1
