"""Fsck believes no writer: what an adversary who owns database and sequencer could still get signed is found here.

What verify finds, fsck finds too: tests/ledger/checks/test_verify.py runs both over every tampering.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update
from tests.testbed.entries import one_of_each
from tests.testbed.ledgers import ORIGIN, Log, closing, draft
from tests.testbed.stores import tampering

from watchkeeper.core.entries import Draft, EntriesPruned, EntryType
from watchkeeper.core.evidence import EvidenceKind, EvidenceRef
from watchkeeper.ledger.checks.audit import VerifyReport
from watchkeeper.ledger.checks.fsck import fsck
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.ledger.tables import (
    evidence,
    ledger_checkpoint,
    ledger_entry,
    ledger_head,
    ledger_pending,
    ledger_pruned,
    ledger_staged,
    ledger_writer,
)
from watchkeeper.store.engine import Store


def found(report: VerifyReport) -> set[tuple[str, str]]:
    assert report.check == "fsck"
    return {(problem.where, problem.code.value) for problem in report.problems}


async def test_every_kind_of_entry_is_as_it_should_be(store: Store) -> None:
    log = Log(store)
    await log.append_whole(*one_of_each().values())
    await log.sequencer.run_turn()
    told: list[tuple[int, int]] = []
    report = await fsck(log.reader, log.key.verifier.vkey, None, lambda done, of: told.append((done, of)))
    assert (report.problems, report.size) == ((), len(EntryType))
    assert told == [(report.size, report.size)]


async def test_helper_processes_find_the_same(store: Store) -> None:
    log = Log(store)
    await log.grow(3000, 2000)
    async with tampering(store) as tx:
        await tx.execute(update(ledger_staged).where(ledger_staged.c.seq == 2100).values(subject="x"))
    alone = await log.fsck()
    helped = await fsck(log.reader, log.key.verifier.vkey, helpers=2)
    assert alone == helped
    assert found(helped) == {("entry 2099", "copies_differ")}


async def put_unsigned(log: Log, said: dict[str, Any] | bytes) -> int:
    """A row as a writer of another mind would stage it; the sequencer signs it like any other. Returns its index."""
    body = said if isinstance(said, bytes) else json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    read = json.loads(body)
    row = {"entry_id": read["id"], "writer": "forger", "seq": 1, "type": read["type"], "subject": read["subject"]}
    async with log.store.write() as tx:
        staged = await tx.execute(
            insert(ledger_staged).values(**row, time=log.clock.now(), body=body).returning(ledger_staged.c.id)
        )
        await tx.execute(insert(ledger_pending).values(id=staged.scalar_one()))
        await tx.execute(insert(ledger_writer).values(writer="forger", seq=1, prev_hash=hashlib.sha256(body).digest()))
    index = await log.reader.size()
    assert await log.sequencer.run_once() == 1
    assert (await log.verify()).ok, "the tree is right: only what the entry says is wrong"
    return index


async def honest(log: Log) -> dict[str, Any]:
    await log.append(closing())
    await log.sequencer.run_once()
    said: dict[str, Any] = json.loads((await log.reader.tail(1))[0].envelope.to_bytes())
    return said | {"id": "ent_forged", "source": f"{ORIGIN}/forger", "wkseq": 1, "wkprev": "0" * 64}


Spoil = Callable[[dict[str, Any]], dict[str, Any] | bytes]
SPOILED: dict[str, tuple[Spoil, str]] = {
    "spaces": (lambda said: json.dumps(said, sort_keys=True).encode(), "not_canonical"),
    "order": (lambda said: json.dumps(dict(reversed(said.items())), separators=(",", ":")).encode(), "not_canonical"),
    "a field too many": (lambda said: said | {"data": said["data"] | {"note": "x"}}, "bad_data"),
    "a field missing": (lambda said: said | {"data": {"incident": said["data"]["incident"]}}, "bad_data"),
    "an attribute too many": (lambda said: said | {"wknote": "x"}, "unreadable_entry"),
    "another specification": (lambda said: said | {"specversion": "0.3"}, "unreadable_entry"),
    "its copies": (lambda said: said | {"time": "2020-01-01T00:00:00.000000Z"}, "copies_differ"),
    "its chain": (lambda said: said | {"wkprev": "1" * 64}, "writer_link"),
}


@pytest.mark.parametrize("name", SPOILED)
async def test_what_a_forging_writer_got_signed_is_found(store: Store, name: str) -> None:
    log = Log(store)
    spoil, code = SPOILED[name]
    index = await put_unsigned(log, spoil(await honest(log)))
    assert (f"entry {index}", code) in found(await log.fsck())


async def test_a_kind_of_a_later_version_is_no_problem(store: Store) -> None:
    log = Log(store)
    await put_unsigned(log, await honest(log) | {"type": "dev.watchkeeper.novelty.v1"})
    assert (await log.fsck()).ok


async def with_evidence(store: Store) -> tuple[Log, EvidenceRef]:
    log = Log(store)
    kept = Evidence(store, clock=log.clock)
    async with store.write() as tx:
        ref = await kept.put(tx, EvidenceKind.COMMENT, b'"go on"')
        await kept.put(tx, EvidenceKind.SERIES, b"[]")
        order = one_of_each()[EntryType.ORDER]
        data = order.data.model_copy(update={"comment": ref})
        await log.ledger.append(tx, Draft(type=order.type, subject=order.subject, data=data))
    await log.sequencer.run_once()
    return log, ref


async def test_evidence_is_held_against_its_commitments(store: Store) -> None:
    log, _ = await with_evidence(store)
    report = await log.fsck()
    assert (report.ok, report.evidence, report.unnamed) == (True, 2, 1)
    assert "2 bodies of evidence, 1 of them named by no entry that is kept" in report.lines()


@pytest.mark.parametrize(
    "change",
    [
        {"body": zlib.compress(b'"go off"')},
        {"body": b"no zlib"},
        {"salt": bytes(32)},
        {"size": 8},
        {"kind": "prompt"},
        {"media_type": "text/plain"},
        {"commitment": "hmac-sha256:" + "0" * 64},
        {"commitment": "x"},
    ],
    ids=str,
)
async def test_altered_evidence_is_found(store: Store, change: dict[str, object]) -> None:
    log, ref = await with_evidence(store)
    async with tampering(store) as tx:
        await tx.execute(update(evidence).where(evidence.c.commitment == ref.commitment).values(**change))
    name = str(change.get("commitment", ref.commitment))
    problems = found(await log.fsck())
    assert {code for _, code in problems} == {"evidence_differs"} | (
        {"evidence_missing"} if name != ref.commitment else set()
    )
    assert any(name.startswith(where.removeprefix("evidence ").rstrip("…")) for where, _ in problems)


async def prune(log: Log, end: int, *, told: bool = True) -> None:
    """Entries below `end` lose their bytes, as retention does it."""
    if told:
        data = EntriesPruned(first=0, end=end, archive="sha256:" + "0" * 64)
        await log.append(Draft(type=EntryType.ENTRIES_PRUNED, subject="", data=data))
        await log.sequencer.run_once()
    async with log.store.write() as tx:
        await tx.execute(insert(ledger_pruned).values(end=end, last_staged_id=end, at=log.clock.now()))
        await tx.execute(delete(ledger_staged).where(ledger_staged.c.id <= end))


async def test_a_pruned_range_still_verifies(store: Store) -> None:
    log = Log(store)
    await log.grow(300, 20)
    other = log.writer("other")
    async with store.write() as tx:
        await other.append(tx, draft())
    await log.sequencer.run_once()
    anchor = await log.checkpoint()
    await prune(log, 310)
    for report in (await log.verify(anchor), await log.fsck(anchor)):
        assert (report.problems, report.pruned, report.size, report.rollback) == ((), 310, 322, "excluded")
        assert any("310 entries are pruned" in line for line in report.lines())


async def test_a_writer_whose_entries_are_all_pruned_is_no_problem(store: Store) -> None:
    log = Log(store)
    old = log.writer("old")
    async with store.write() as tx:
        await old.append(tx, draft(), draft())
    await log.sequencer.run_once()
    await prune(log, 2)
    assert (await log.fsck()).ok


async def test_pruning_that_no_entry_tells_of_is_found(store: Store) -> None:
    log = Log(store)
    await log.grow(20)
    await prune(log, 10, told=False)
    assert (await log.verify()).ok
    assert found(await log.fsck()) == {("pruned 10", "pruned_untold")}


async def test_bytes_missing_beyond_the_mark_are_missing(store: Store) -> None:
    log = Log(store)
    await log.grow(20)
    await prune(log, 10)
    async with tampering(store) as tx:
        await tx.execute(delete(ledger_staged).where(ledger_staged.c.seq == 15))
    assert {("entry 14", "missing_entry"), ("entry 15", "writer_gap")} <= found(await log.fsck())


async def test_a_pruned_leaf_that_is_changed_breaks_the_root(store: Store) -> None:
    log = Log(store)
    await log.grow(20)
    await prune(log, 10)
    async with tampering(store) as tx:
        await tx.execute(update(ledger_entry).where(ledger_entry.c.idx == 3).values(leaf=bytes(32)))
    assert ("checkpoint 20", "checkpoint_root") in found(await log.fsck())


async def test_checkpoints_out_of_the_order_of_time_are_found(store: Store) -> None:
    log = Log(store)
    await log.grow(2, 2, 2)
    async with store.read() as tx:
        first = (await tx.execute(select(ledger_checkpoint.c.signed_at).limit(1))).scalar_one()
    async with tampering(store) as tx:
        earlier = first.replace(year=first.year - 1)
        await tx.execute(update(ledger_checkpoint).where(ledger_checkpoint.c.size == 4).values(signed_at=earlier))
    assert found(await log.fsck()) == {("checkpoint 4", "checkpoint_time")}
    async with tampering(store) as tx:
        await tx.execute(update(ledger_checkpoint).values(signed_at=first))
        await tx.execute(update(ledger_head).values(last_time=earlier))
    assert found(await log.fsck()) == {("head", "checkpoint_time")}
