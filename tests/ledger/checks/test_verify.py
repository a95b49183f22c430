"""Invariant 8: any change, gap, reorder or fork of the log is found by verify, and it says where.

The adversary owns the database, not the signing key. Each tampering also fixes up whatever can be made to look right.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.testbed.ledgers import ORIGIN, Log, draft
from tests.testbed.stores import tampering

from watchkeeper.core.errors import InputError
from watchkeeper.ledger.checks.audit import MAX_PROBLEMS, Code, VerifyReport
from watchkeeper.ledger.checks.verify import verify
from watchkeeper.ledger.signing.checkpoint import Checkpoint, sign_checkpoint
from watchkeeper.ledger.signing.keys import SigningKey
from watchkeeper.ledger.tables import (
    ledger_checkpoint,
    ledger_entry,
    ledger_head,
    ledger_pending,
    ledger_staged,
    ledger_tile,
    ledger_writer,
)
from watchkeeper.ledger.tree.merkle import Tree, leaf_hash
from watchkeeper.store.engine import Store

Tamper = Callable[[AsyncConnection], Awaitable[None]]


def found(report: VerifyReport) -> set[tuple[str, str]]:
    return {(problem.where, problem.code.value) for problem in report.problems}


async def tampered(store: Store, tamper: Tamper, *batches: int, pending: int = 0) -> set[tuple[str, str]]:
    """What verify finds after a tampering with a log of these batches."""
    log = Log(store)
    await log.grow(*(batches or (4, 3)))
    if pending:
        await log.append(*(draft(n + 1) for n in range(pending)))
    assert (await log.verify()).ok
    assert (await log.fsck()).ok
    async with tampering(store) as tx:
        if store.is_sqlite:
            await tx.execute(text("PRAGMA defer_foreign_keys=ON"))
        await tamper(tx)
    quick, whole = await log.verify(), await log.fsck()
    for report in (quick, whole):
        assert report.ok is (not report.problems)
    assert set(quick.problems) <= set(whole.problems), "fsck finds all that verify finds"
    return found(whole)


async def body_of(tx: AsyncConnection, seq: int) -> bytes:
    body: bytes = (await tx.execute(select(ledger_staged.c.body).where(ledger_staged.c.seq == seq))).scalar_one()
    return body


async def set_body(tx: AsyncConnection, seq: int, body: bytes) -> None:
    await tx.execute(update(ledger_staged).where(ledger_staged.c.seq == seq).values(body=body))


async def set_leaf(tx: AsyncConnection, idx: int, body: bytes) -> None:
    await tx.execute(update(ledger_entry).where(ledger_entry.c.idx == idx).values(leaf=leaf_hash(body)))


async def mend_head(tx: AsyncConnection) -> None:
    """Makes head, tiles and leaves agree with the bodies, as a careful adversary would."""
    rows = await tx.execute(
        select(ledger_entry.c.idx, ledger_staged.c.body)
        .join(ledger_staged, ledger_staged.c.id == ledger_entry.c.staged_id)
        .order_by(ledger_entry.c.idx)
    )
    tree = Tree()
    for row in rows.all():
        tree.append(leaf_hash(row.body))
        await set_leaf(tx, row.idx, row.body)
    await tx.execute(update(ledger_head).values(size=tree.size, peaks=tree.packed()))


async def test_a_log_as_it_should_be(store: Store) -> None:
    log = Log(store)
    await log.grow(5, 300, 1)
    await log.append(draft(), draft())
    report = await log.verify()
    assert report.ok
    assert (report.size, report.signed, report.checkpoints, report.pending) == (306, 306, 3, 2)
    assert report.rollback == "not_excluded"
    assert f"{report.root}\n" in await log.checkpoint()
    assert "rollback not excluded" in report.lines()


async def test_an_empty_log_holds(store: Store) -> None:
    report = await Log(store).verify()
    assert (report.ok, report.size) == (True, 0)


async def test_a_flipped_bit_is_found_where_it_is(store: Store) -> None:
    async def flip(tx: AsyncConnection) -> None:
        body = bytearray(await body_of(tx, 3))
        body[body.index(b"test")] ^= 1
        await set_body(tx, 3, bytes(body))

    assert {("entry 2", "leaf_differs"), ("entry 3", "writer_link")} <= await tampered(store, flip)


async def test_an_edit_with_everything_mended_still_breaks_the_checkpoint(store: Store) -> None:
    async def edit(tx: AsyncConnection) -> None:
        await set_body(tx, 7, (await body_of(tx, 7)).replace(b'"reason":"test"', b'"reason":"tost"'))
        last = hashlib.sha256(await body_of(tx, 7)).digest()
        await tx.execute(update(ledger_writer).values(prev_hash=last))
        await mend_head(tx)

    assert await tampered(store, edit) == {("checkpoint 7", "checkpoint_root")}


@pytest.mark.parametrize("column", ["type", "subject", "entry_id", "writer"])
async def test_an_edited_search_column_is_found(store: Store, column: str) -> None:
    async def edit(tx: AsyncConnection) -> None:
        await tx.execute(update(ledger_staged).where(ledger_staged.c.seq == 2).values({column: "x"}))

    assert ("entry 1", "copies_differ") in await tampered(store, edit)


async def test_a_deleted_entry_is_found(store: Store) -> None:
    async def remove(tx: AsyncConnection) -> None:
        await tx.execute(delete(ledger_entry).where(ledger_entry.c.idx == 2))

    problems = await tampered(store, remove)
    assert {("entry 2", "missing_entry"), ("entry 3", "writer_gap"), ("staged 3", "lost")} <= problems


async def test_a_deleted_body_is_found(store: Store) -> None:
    async def remove(tx: AsyncConnection) -> None:
        await tx.execute(delete(ledger_staged).where(ledger_staged.c.seq == 2))

    assert {("entry 1", "missing_entry"), ("entry 2", "writer_gap")} <= await tampered(store, remove)


async def test_a_deletion_closed_up_is_found(store: Store) -> None:
    """The entry is gone, the later ones moved down, head and leaves mended: counts and roots still tell."""

    async def close_up(tx: AsyncConnection) -> None:
        await tx.execute(delete(ledger_entry).where(ledger_entry.c.idx == 2))
        await tx.execute(delete(ledger_staged).where(ledger_staged.c.seq == 3))
        for idx in range(3, 7):
            await tx.execute(update(ledger_entry).where(ledger_entry.c.idx == idx).values(idx=idx - 1))
        await mend_head(tx)

    problems = await tampered(store, close_up)
    assert {("entry 2", "writer_gap"), ("checkpoint 4", "checkpoint_root"), ("checkpoint 7", "checkpoint_beyond")} <= (
        problems
    )


async def insert_entry(tx: AsyncConnection, idx: int) -> None:
    """Puts a forged entry of a writer of its own at an index, moving the others up, and mends the head."""
    top = (await tx.execute(select(func.max(ledger_entry.c.idx)))).scalar_one()
    for other in range(top, idx - 1, -1):
        await tx.execute(update(ledger_entry).where(ledger_entry.c.idx == other).values(idx=other + 1))
    said = json.loads(await body_of(tx, 1)) | {"id": "ent_forged", "source": f"{ORIGIN}/forger"}
    body = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    row = {"entry_id": "ent_forged", "writer": "forger", "seq": 1, "body": body}
    copied = (await tx.execute(select(ledger_staged).where(ledger_staged.c.writer == "main").limit(1))).one()
    row |= {"id": 1000, "type": copied.type, "subject": copied.subject, "time": copied.time}
    await tx.execute(insert(ledger_staged).values(row))
    await tx.execute(insert(ledger_writer).values(writer="forger", seq=1, prev_hash=hashlib.sha256(body).digest()))
    await tx.execute(insert(ledger_entry).values(idx=idx, staged_id=1000, leaf=leaf_hash(body)))
    await mend_head(tx)


async def test_an_inserted_entry_is_found(store: Store) -> None:
    async def put_in(tx: AsyncConnection) -> None:
        await insert_entry(tx, 2)

    assert ("checkpoint 4", "checkpoint_root") in await tampered(store, put_in)


async def test_an_entry_added_at_the_end_is_not_signed(store: Store) -> None:
    async def put_on(tx: AsyncConnection) -> None:
        await insert_entry(tx, 7)

    assert await tampered(store, put_on) == {("entry 7", "not_signed")}


async def test_two_entries_that_changed_places_are_found(store: Store) -> None:
    async def swap(tx: AsyncConnection) -> None:
        for old, new in ((1, 100), (2, 1), (100, 2)):
            await tx.execute(update(ledger_entry).where(ledger_entry.c.idx == old).values(idx=new))
        await mend_head(tx)

    problems = await tampered(store, swap)
    assert {("entry 1", "writer_gap"), ("checkpoint 4", "checkpoint_root")} <= problems


async def test_a_truncation_is_found(store: Store) -> None:
    async def cut(tx: AsyncConnection) -> None:
        await tx.execute(delete(ledger_entry).where(ledger_entry.c.idx >= 5))
        await mend_head(tx)

    problems = await tampered(store, cut)
    assert {("checkpoint 7", "checkpoint_beyond"), ("staged 6", "lost"), ("entry 4", "not_signed")} <= problems


async def test_everything_cut_off_is_found(store: Store) -> None:
    async def cut(tx: AsyncConnection) -> None:
        await tx.execute(delete(ledger_entry))

    assert {("head", "head_differs"), ("checkpoint 4", "checkpoint_beyond")} <= await tampered(store, cut)


async def roll_back(tx: AsyncConnection) -> None:
    """Back to the log as it was at four entries, in every table: exactly what was signed then."""
    await tx.execute(delete(ledger_entry).where(ledger_entry.c.idx >= 4))
    await tx.execute(delete(ledger_staged).where(ledger_staged.c.seq > 4))
    await tx.execute(delete(ledger_checkpoint).where(ledger_checkpoint.c.size > 4))
    last = hashlib.sha256(await body_of(tx, 4)).digest()
    await tx.execute(update(ledger_writer).values(seq=4, prev_hash=last))
    await mend_head(tx)


async def test_a_rollback_is_found_by_who_remembers_a_checkpoint(store: Store) -> None:
    log = Log(store)
    await log.grow(4, 3)
    anchor = await log.checkpoint()
    before = await log.verify(anchor)
    assert (before.ok, before.rollback) == (True, "excluded")
    async with tampering(store) as tx:
        await roll_back(tx)
    blind = await log.verify()
    assert (blind.ok, blind.rollback) == (True, "not_excluded")
    assert "rollback not excluded" in blind.lines()
    seeing = await log.verify(anchor)
    assert found(seeing) == {("anchor 7", "rolled_back")}
    assert seeing.rollback == "not_excluded"


async def test_a_fork_is_found_by_who_remembers_a_checkpoint(store: Store) -> None:
    """The same log goes on twice from one backup; both lines are signed by our key."""
    log = Log(store)
    await log.grow(4, 3)
    anchor = await log.checkpoint()
    async with tampering(store) as tx:
        await roll_back(tx)
    await log.append(*(draft(n + 50) for n in range(3)))
    assert await log.sequencer_of("one").run_once() == 3
    assert (await log.verify()).ok
    assert found(await log.verify(anchor)) == {("anchor 7", "forked")}


async def test_an_anchor_of_an_earlier_size_excludes_a_rollback_behind_it(store: Store) -> None:
    log = Log(store)
    await log.grow(4)
    anchor = await log.checkpoint()
    await log.grow(3)
    assert (await log.verify(anchor)).rollback == "excluded"


async def test_an_anchor_of_another_log_is_no_anchor(store: Store) -> None:
    log = Log(store)
    await log.grow(4)
    foreign = sign_checkpoint(Checkpoint(ORIGIN, 4, bytes(32)), SigningKey.generate(ORIGIN))
    report = await log.verify(foreign)
    assert found(report) == {("anchor", "bad_anchor")}
    assert report.rollback == "not_excluded"


async def test_a_checkpoint_of_another_key_or_size_is_found(store: Store) -> None:
    async def resign(tx: AsyncConnection) -> None:
        forged = sign_checkpoint(Checkpoint(ORIGIN, 7, bytes(32)), SigningKey.generate(ORIGIN))
        await tx.execute(update(ledger_checkpoint).where(ledger_checkpoint.c.size == 7).values(body=forged))

    async def misplace(tx: AsyncConnection) -> None:
        body = (await tx.execute(select(ledger_checkpoint.c.body).where(ledger_checkpoint.c.size == 4))).scalar_one()
        await tx.execute(update(ledger_checkpoint).where(ledger_checkpoint.c.size == 7).values(body=body))

    assert ("checkpoint 7", "bad_checkpoint") in await tampered(store, resign)
    async with tampering(store) as tx:
        await misplace(tx)
    assert ("checkpoint 7", "bad_checkpoint") in found(await Log(store).verify())


async def test_an_edited_tile_is_found(store: Store) -> None:
    async def edit(tx: AsyncConnection) -> None:
        await tx.execute(update(ledger_tile).values(root=bytes(32)))

    async def remove(tx: AsyncConnection) -> None:
        await tx.execute(delete(ledger_tile))

    assert await tampered(store, edit, 300) == {("tile 0/0", "tile_differs")}
    log = Log(store)
    async with tampering(store) as tx:
        await remove(tx)
    assert ("tile 0/0", "tile_differs") in found(await log.verify())


async def test_a_pending_entry_that_is_edited_or_removed_is_found(store: Store) -> None:
    async def edit(tx: AsyncConnection) -> None:
        await set_body(tx, 8, (await body_of(tx, 8)).replace(b'"reason":"test"', b'"reason":"tost"'))

    async def remove(tx: AsyncConnection) -> None:
        last = (await tx.execute(select(func.max(ledger_staged.c.id)))).scalar_one()
        await tx.execute(delete(ledger_pending).where(ledger_pending.c.id == last))
        await tx.execute(delete(ledger_staged).where(ledger_staged.c.id == last))

    assert ("staged 9", "writer_link") in await tampered(store, edit, 7, pending=2)
    async with tampering(store) as tx:
        await remove(tx)
    assert ("writer main", "writer_head") in found(await Log(store).fsck())


async def test_rows_in_no_place_or_in_two_are_found(store: Store) -> None:
    async def misplace(tx: AsyncConnection) -> None:
        await tx.execute(delete(ledger_pending))
        await tx.execute(insert(ledger_pending), [{"id": 1}, {"id": 500}])

    problems = await tampered(store, misplace, 3, pending=1)
    assert {("staged 4", "lost"), ("staged 1", "doubled"), ("staged 500", "dangling")} <= problems


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b'{"id":1,"source":2,"wkseq":"x","wkprev":3}'])
async def test_bytes_that_are_no_entry_are_found(store: Store, body: bytes) -> None:
    async def put(tx: AsyncConnection) -> None:
        await set_body(tx, 2, body)

    assert ("entry 1", "unreadable_entry") in await tampered(store, put)


async def test_a_long_list_of_problems_is_bounded(store: Store) -> None:
    async def spoil(tx: AsyncConnection) -> None:
        await tx.execute(update(ledger_staged).values(subject="x"))

    log = Log(store)
    await log.grow(MAX_PROBLEMS + 20)
    async with tampering(store) as tx:
        await spoil(tx)
    report = await log.fsck()
    assert (len(report.problems), report.more_problems) == (MAX_PROBLEMS, 20)
    assert {problem.code for problem in report.problems} == {Code.COPIES_DIFFER}
    assert "and 20 more" in report.lines()


async def test_entries_moved_far_away_are_found(store: Store) -> None:
    async def move(tx: AsyncConnection) -> None:
        await tx.execute(update(ledger_entry).where(ledger_entry.c.idx == 6).values(idx=10**12))

    assert ("entry 6", "missing_entry") in await tampered(store, move)


async def test_the_wrong_key_verifies_nothing(store: Store) -> None:
    log = Log(store)
    await log.grow(4)
    log.key = SigningKey.generate(ORIGIN)
    assert {("checkpoint 4", "bad_checkpoint"), ("entry 0", "not_signed")} == found(await log.verify())


async def test_a_key_that_is_none_is_an_input_error(store: Store) -> None:
    with pytest.raises(InputError):
        await verify(Log(store).reader, "no key")


async def test_verify_sees_one_moment_while_the_log_grows(store: Store) -> None:
    log = Log(store)
    await log.grow(20)
    stop = asyncio.Event()

    async def grow() -> None:
        while not stop.is_set():
            await log.append(draft(), draft())
            await log.sequencer.run_once()

    growing = asyncio.create_task(grow())
    try:
        reports = [await log.verify() for _ in range(5)]
    finally:
        stop.set()
        await growing
    assert [report.problems for report in reports] == [()] * 5
