"""Reading the log: ranges, filters, pages, proofs that stand without us."""

from __future__ import annotations

import base64
import hashlib

import pytest
from sqlalchemy import delete, update
from tests.testbed.ledgers import Log, closing, draft
from tests.testbed.stores import tampering

from watchkeeper.core.clock import ManualClock
from watchkeeper.core.entries import EntryType
from watchkeeper.core.errors import LedgerError, NotFoundError, VerificationError
from watchkeeper.ledger import reader as reading
from watchkeeper.ledger.signing.checkpoint import open_checkpoint
from watchkeeper.ledger.tables import ledger_staged, ledger_tile
from watchkeeper.ledger.tree.merkle import leaf_hash, verify_consistency, verify_inclusion
from watchkeeper.store.engine import Store


def raw(text: str) -> bytes:
    return base64.b64decode(text)


async def test_an_empty_log(store: Store) -> None:
    log = Log(store)
    assert (await log.reader.size(), await log.reader.checkpoint(), await log.reader.tail(5)) == (0, None, [])
    with pytest.raises(NotFoundError):
        await log.reader.inclusion(0)
    assert (await log.reader.consistency(0)).hashes == ()


async def test_entries_are_found_by_range_id_and_tail(store: Store) -> None:
    log = Log(store)
    ids = await log.append(*(draft(n + 1) for n in range(6)))
    assert await log.reader.pending() == 6
    assert await log.reader.by_id(ids[0]) is None, "it has no index yet"
    await log.sequencer.run_once()
    found = await log.reader.entries(2, 4)
    assert [(e.index, e.envelope.id) for e in found] == [(2, ids[2]), (3, ids[3])]
    assert [e.index for e in await log.reader.tail(2)] == [4, 5]
    assert (await log.reader.size(), await log.reader.pending()) == (6, 0)
    one = await log.reader.by_id(ids[5])
    assert one is not None
    assert one.leaf == leaf_hash(one.envelope.to_bytes()).hex()
    assert await log.reader.by_id("ent_none") is None


async def test_entries_are_found_by_subject_type_and_time(store: Store) -> None:
    clock = ManualClock()
    log = Log(store, clock)
    for number in range(3):
        await log.append(draft(number + 1, subject=f"inc_{number}"), closing())
        clock.advance(60)
    await log.sequencer.run_once()
    at = ManualClock()
    at.advance(60)
    assert [e.index for e in await log.reader.by_subject("inc_1")] == [2]
    assert [e.index for e in await log.reader.find(types=(EntryType.INCIDENT_CLOSED,))] == [1, 3, 5]
    assert [e.index for e in await log.reader.find(since=at.now())] == [2, 3, 4, 5]
    assert [e.index for e in await log.reader.find(until=at.now())] == [0, 1]
    assert [e.index for e in await log.reader.find(types=(EntryType.EVICTION,), after=0, limit=1)] == [2]


async def test_iteration_goes_on_over_pages(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PAGE", 4)
    log = Log(store)
    await log.grow(8)
    assert [e.index async for e in log.reader.iterate()] == list(range(8))
    assert [e.index async for e in log.reader.iterate(after=4, subject=draft().subject)] == [5, 6, 7]


async def test_one_call_returns_a_bounded_number_of_entries(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_READ", 3)
    log = Log(store)
    await log.grow(5)
    assert len(await log.reader.entries(0, 5)) == 3
    assert len(await log.reader.tail(5)) == 3
    assert len(await log.reader.find(limit=5)) == 3


async def test_proofs_stand_against_the_signed_checkpoints(store: Store) -> None:
    """Across full tiles, at their edges and inside, for the size now and for earlier ones."""
    log = Log(store)
    await log.grow(3)
    early = open_checkpoint(await log.checkpoint(), [log.key.verifier])
    await log.grow(254, 300, 13)
    checkpoint = open_checkpoint(await log.checkpoint(), [log.key.verifier])
    for index in (0, 2, 255, 256, 257, 511, 512, 569):
        proof = await log.reader.inclusion(index)
        (entry,) = await log.reader.entries(index, index + 1)
        leaf = hashlib.sha256(b"\x00" + entry.envelope.to_bytes()).digest()
        assert leaf.hex() == proof.leaf
        assert raw(proof.root) == checkpoint.root
        assert verify_inclusion(index, 570, leaf, [raw(h) for h in proof.hashes], checkpoint.root)
    old = await log.reader.inclusion(1, early.size)
    assert raw(old.root) == early.root
    for size in (1, 3, 255, 256, 257, 557, 570):
        root = raw((await log.reader.inclusion(0, size)).root)
        proof_of_growth = [raw(h) for h in (await log.reader.consistency(size)).hashes]
        assert verify_consistency(size, 570, root, checkpoint.root, proof_of_growth)


async def test_proofs_outside_the_log_are_refused(store: Store) -> None:
    log = Log(store)
    await log.grow(3)
    for index, size in ((3, None), (-1, None), (0, 4), (2, 2)):
        with pytest.raises(NotFoundError, match="is not in this log"):
            await log.reader.inclusion(index, size)
    for old, new in ((4, None), (1, 4), (-1, 2)):
        with pytest.raises(NotFoundError, match="is not in this log"):
            await log.reader.consistency(old, new)


async def test_a_proof_over_missing_rows_says_so(store: Store) -> None:
    log = Log(store)
    await log.grow(300)
    async with tampering(store) as tx:
        await tx.execute(delete(ledger_tile))
    with pytest.raises(LedgerError, match="cannot be read"):
        await log.reader.inclusion(299)


async def test_an_entry_that_is_none_names_its_place(store: Store) -> None:
    log = Log(store)
    await log.grow(3)
    async with tampering(store) as tx:
        await tx.execute(update(ledger_staged).where(ledger_staged.c.seq == 2).values(body=b'{"id": "x"}'))
    with pytest.raises(VerificationError) as refused:
        await log.reader.entries(0, 3)
    assert refused.value.place == "entry 1"
