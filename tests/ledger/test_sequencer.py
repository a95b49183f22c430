"""Sequencing: order, batches, fencing, what it refuses to sign, and rows that become visible out of order."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.testbed.ledgers import ORIGIN, Log, draft
from tests.testbed.stores import tampering

from watchkeeper.core.clock import ManualClock, SystemClock
from watchkeeper.core.errors import ConfigError, ConflictError, LedgerError
from watchkeeper.ledger.sequencer import LEASE, LEASE_S, STEP, TURN_BATCHES, Sequencer
from watchkeeper.ledger.signing.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from watchkeeper.ledger.signing.keys import SigningKey, create_key
from watchkeeper.ledger.tables import ledger_checkpoint, ledger_entry, ledger_head, ledger_staged, ledger_tile
from watchkeeper.ledger.tree.merkle import Tree, leaf_hash
from watchkeeper.store import leases
from watchkeeper.store.engine import Store
from watchkeeper.store.tables import lease

ROOT = Path(__file__).parent.parent.parent


async def test_entries_get_their_index_in_order_of_append(store: Store) -> None:
    log = Log(store)
    ids = [entry_id for n in range(5) for entry_id in await log.append(draft(n + 1), draft(n + 1))]
    assert await log.sequencer.run_once() == 10
    assert [e.envelope.id for e in await log.reader.entries(0, 100)] == ids
    assert await log.sequencer.run_once() == 0


async def test_every_batch_is_signed_and_bounded(store: Store) -> None:
    log = Log(store)
    await log.append(*(draft(n + 1) for n in range(7)))
    sequencer = log.sequencer_of("small", batch=3)
    assert [await sequencer.run_once() for _ in range(4)] == [3, 3, 1, 0]
    async with store.read() as tx:
        notes = (await tx.execute(select(ledger_checkpoint.c.body).order_by(ledger_checkpoint.c.size))).scalars().all()
        leaves = (await tx.execute(select(ledger_entry.c.leaf).order_by(ledger_entry.c.idx))).scalars().all()
    for note, size in zip(notes, (3, 6, 7), strict=True):
        tree = Tree()
        tree.extend(leaves[:size])
        assert open_checkpoint(note, [log.key.verifier]) == Checkpoint(ORIGIN, size, tree.root())


async def test_a_turn_takes_all_that_waits(store: Store) -> None:
    log = Log(store)
    await log.append(*(draft(n + 1) for n in range(7)))
    sequencer = log.sequencer_of("small", batch=3)
    assert [await sequencer.run_turn() for _ in range(2)] == [7, 0]
    assert (await log.verify()).checkpoints == 3


async def test_a_turn_is_bounded(store: Store) -> None:
    log = Log(store)
    await log.append(*(draft(n + 1) for n in range(TURN_BATCHES + 2)))
    sequencer = log.sequencer_of("small", batch=1)
    assert [await sequencer.run_turn() for _ in range(2)] == [TURN_BATCHES, 2]


async def test_full_tiles_are_kept(store: Store) -> None:
    log = Log(store)
    await log.grow(255, 1, 257)
    async with store.read() as tx:
        found = (await tx.execute(select(ledger_tile.c.level, ledger_tile.c.idx).order_by(ledger_tile.c.idx))).all()
    assert [tuple(row) for row in found] == [(0, 0), (0, 1)]
    assert (await log.verify()).ok


async def test_a_key_of_another_log_is_refused(store: Store) -> None:
    with pytest.raises(ConfigError, match="the signing key is for"):
        Sequencer(store, ManualClock(), SigningKey.generate("other.example/log"), ORIGIN)


async def test_only_the_holder_of_the_lease_sequences(store: Store) -> None:
    log = Log(store)
    await log.grow(1)
    await log.append(draft())
    other = log.sequencer_of("two")
    assert await other.run_once() == 0
    assert await log.sequencer.run_once() == 1
    await log.append(draft())
    await log.sequencer.release()
    assert await other.run_once() == 1
    assert (await log.verify()).ok


async def test_a_holder_that_slept_is_fenced_out(store: Store) -> None:
    """Its clock says the lease is still its own; the row says it has passed on. It writes nothing."""
    log = Log(store)
    await log.grow(1)
    clock = ManualClock()
    clock.advance(LEASE_S + 1)
    awake = Sequencer(store, clock, log.key, ORIGIN, holder="awake")
    await log.append(draft())
    assert await awake.run_once() == 1
    await log.append(draft())
    assert await log.sequencer.run_once() == 0
    assert await log.reader.size() == 2
    assert await awake.run_once() == 1
    assert (await log.verify()).size == 3
    assert (await log.verify()).ok


async def test_a_head_moved_by_a_later_holder_is_not_moved_back(store: Store) -> None:
    """The second fence: even with a valid lease row, an older token never moves the head."""
    log = Log(store)
    await log.grow(1)
    async with tampering(store) as tx:
        await tx.execute(update(ledger_head).values(fence=99))
    await log.append(draft())
    assert await log.sequencer.run_once() == 0
    assert await log.reader.size() == 1


async def test_two_sequencers_at_once_make_one_log(store: Store) -> None:
    log = Log(store)
    both = [log.sequencer_of("one", batch=4), log.sequencer_of("two", batch=4)]
    for _ in range(3):
        await log.append(*(draft(n + 1) for n in range(10)))
        counts = await asyncio.gather(*(sequencer.run_once() for sequencer in both for _ in range(3)))
        assert sum(counts) == 10
    report = await log.verify()
    assert (report.ok, report.size) == (True, 30)


async def test_invariant_11_time_that_goes_back_is_refused(store: Store) -> None:
    clock, back = ManualClock(), STEP.total_seconds() + 0.001
    log = Log(store, clock)
    await log.grow(2)
    await log.append(draft())
    clock.step_wall(-back)
    for _ in range(2):
        with pytest.raises(LedgerError, match="clock went back"):
            await log.sequencer.run_once()
    assert await log.reader.size() == 2
    clock.step_wall(back)
    assert await log.sequencer.run_once() == 1
    assert (await log.verify()).ok


async def test_a_leap_second_is_waited_out_and_nothing_is_signed_in_the_past(store: Store) -> None:
    clock = ManualClock()
    log = Log(store, clock)
    await log.grow(2)
    await log.append(draft())
    clock.step_wall(-1)
    for _ in range(2):
        assert await log.sequencer.run_once() == 0
    clock.advance(1)
    assert await log.sequencer.run_once() == 1
    assert (await log.verify()).ok


async def rewrite_head(tx: AsyncConnection, leaves: list[bytes]) -> None:
    tree = Tree()
    tree.extend(leaves)
    await tx.execute(update(ledger_head).values(size=tree.size, peaks=tree.packed()))


async def refused(log: Log, match: str) -> None:
    await log.append(draft())
    with pytest.raises(LedgerError, match=match):
        await log.sequencer.run_once()
    async with log.store.read() as tx:
        top = (await tx.execute(select(func.max(ledger_checkpoint.c.size)))).scalar_one()
    assert top is None or top <= 3, "something was signed"


async def test_a_head_that_is_not_the_last_checkpoint_s_tree_is_not_extended(store: Store) -> None:
    log = Log(store)
    await log.grow(3)
    async with tampering(store) as tx:
        await rewrite_head(tx, [leaf_hash(b"forged")] * 3)
    await refused(log, "are not one tree")


async def test_a_head_that_is_no_tree_is_refused(store: Store) -> None:
    log = Log(store)
    await log.grow(3)
    async with tampering(store) as tx:
        await tx.execute(update(ledger_head).values(size=2))
    await refused(log, "not a tree")


async def test_a_forged_head_and_checkpoint_are_not_signed_over(store: Store) -> None:
    """Whoever owns the database but not the key cannot have a forged tree made good by our next signature."""
    log = Log(store)
    await log.grow(3)
    leaves = [leaf_hash(b"forged")] * 3
    tree = Tree()
    tree.extend(leaves)
    note = sign_checkpoint(Checkpoint(ORIGIN, 3, tree.root()), SigningKey.generate(ORIGIN))
    async with tampering(store) as tx:
        await rewrite_head(tx, leaves)
        await tx.execute(update(ledger_checkpoint).values(body=note))
    await refused(log, "the last checkpoint does not hold")


async def test_missing_checkpoints_are_not_made_anew(store: Store) -> None:
    log = Log(store)
    await log.grow(3)
    async with tampering(store) as tx:
        await tx.execute(delete(ledger_checkpoint))
    await refused(log, "are not one tree")


async def test_a_log_that_got_shorter_is_refused_by_who_remembers(store: Store) -> None:
    """A restored backup is consistent in itself; the process that signed more must not fork the log."""
    log = Log(store)
    await log.grow(2)
    async with store.read() as tx:
        head = (await tx.execute(select(ledger_head))).one()
    await log.grow(1)
    async with tampering(store) as tx:
        await tx.execute(delete(ledger_checkpoint).where(ledger_checkpoint.c.size > 2))
        await tx.execute(delete(ledger_entry).where(ledger_entry.c.idx >= 2))
        await tx.execute(update(ledger_head).values(size=head.size, peaks=head.peaks))
    await refused(log, "3 entries long and is now another")


async def test_a_pending_entry_without_its_row_stops_the_sequencer(store: Store) -> None:
    log = Log(store)
    await log.grow(1)
    await log.append(draft(), draft())
    async with tampering(store) as tx:
        await tx.execute(delete(ledger_staged).where(ledger_staged.c.seq == 2))
    await refused(log, "1 pending entries have no staged row")


async def test_a_failed_batch_leaves_everything_as_it_was(store: Store) -> None:
    log = Log(store)
    await log.grow(1)
    await log.append(draft(), draft())
    async with store.write() as tx:  # in the way of the next checkpoint
        await tx.execute(insert(ledger_checkpoint).values(size=3, body="", signed_at=log.clock.now()))
        await tx.execute(insert(ledger_tile).values(level=0, idx=0, root=bytes(32)))
    with pytest.raises(LedgerError):
        await log.sequencer.run_once()
    async with tampering(store) as tx:
        await tx.execute(delete(ledger_checkpoint).where(ledger_checkpoint.c.size == 3))
        await tx.execute(delete(ledger_tile))
    assert await log.sequencer.run_once() == 2
    assert (await log.verify()).ok


async def test_rows_that_become_visible_out_of_order_are_not_lost(store: Store) -> None:
    """On PostgreSQL a transaction that began early commits late: its smaller ids appear after greater ones."""
    log = Log(store)
    if store.is_sqlite:
        await log.grow(1)  # one writer at a time: ids cannot appear out of order
        assert (await log.verify()).ok
        return
    slow, quick = log.writer("slow"), log.writer("quick")
    async with store.write() as early:
        (late_id,) = await slow.append(early, draft(1))
        for n in range(3):
            async with store.write() as tx:
                await quick.append(tx, draft(n + 1))
            assert await log.sequencer.run_once() == 1
    assert await log.sequencer.run_once() == 1
    async with store.read() as tx:
        order = (await tx.execute(select(ledger_entry.c.staged_id).order_by(ledger_entry.c.idx))).scalars().all()
    assert order[-1] < min(order[:-1]), "the late row has the smallest id, and the last index"
    found = await log.reader.by_id(late_id)
    assert found is not None
    assert found.index == 3
    assert (await log.verify()).ok


async def test_a_transaction_open_over_many_turns_loses_nothing(store: Store) -> None:
    """Its ids are older than everything that was signed meanwhile; the order within each writer holds."""
    log = Log(store)
    if store.is_sqlite:
        await log.grow(1)  # one writer at a time: nobody commits while another's transaction is open
        assert (await log.fsck()).ok
        return
    slow, quick = log.writer("slow"), log.writer("quick")
    async with store.write() as early:
        late = await slow.append(early, *(draft(n + 1) for n in range(300)))
        for _ in range(5):
            async with store.write() as tx:
                await quick.append(tx, *(draft(n + 1) for n in range(100)))
            assert await log.sequencer.run_turn() == 100
    assert await log.sequencer.run_turn() == 300
    assert tuple(entry.envelope.id for entry in await log.reader.entries(500, 800)) == late
    report = await log.fsck()
    assert (report.problems, report.size, report.pending) == ((), 800, 0)


async def test_a_holder_that_was_stopped_wakes_up_fenced_out(store: Store, store_url: str, tmp_path: Path) -> None:
    """SIGSTOP between taking the lease and the batch; another process goes on; SIGCONT: it commits nothing."""
    log = Log(store, SystemClock(), create_key(tmp_path / "ledger.key", ORIGIN))
    await log.append(draft(), draft())
    command = [sys.executable, "-m", "tests.testbed.ledgers", "stopped", store_url, str(tmp_path / "ledger.key")]
    env = {**os.environ, "PYTHONPATH": "src:."}
    held = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    try:
        assert await asyncio.to_thread(os.waitpid, held.pid, os.WUNTRACED) != (held.pid, 0)
        async with store.write() as tx:  # its lease's time is over
            await tx.execute(update(lease).values(expires=SystemClock().now()))
        assert await log.sequencer.run_once() == 2
        head = await log.checkpoint()
        await log.append(draft())
        held.send_signal(signal.SIGCONT)
        said, _ = await asyncio.to_thread(held.communicate, timeout=60)
    finally:
        held.kill()
    assert said.split() == ["sequenced", "0"]
    assert await log.checkpoint() == head
    assert await log.sequencer.run_once() == 1
    assert (await log.fsck()).ok


async def test_a_stale_lease_is_refused_inside_the_transaction(store: Store) -> None:
    log = Log(store)
    now = log.clock.now()
    async with store.write() as tx:
        first = await leases.acquire(tx, LEASE, "a", now, 0.0)
        assert first is not None
        assert await leases.acquire(tx, LEASE, "b", now, 5.0) is not None
    with pytest.raises(ConflictError):
        async with store.write() as tx:
            await leases.check(tx, first)
