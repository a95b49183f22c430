"""Appending in the caller's transaction: envelope, chain, limits, and that state and record do not part."""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest
from pydantic import SecretStr
from sqlalchemy import func, insert, select
from tests.testbed.entries import INCIDENT, one_of_each
from tests.testbed.ledgers import ORIGIN, Log, draft

from watchkeeper.core.clock import ManualClock
from watchkeeper.core.entries import GENESIS_PREV, MAX_ENTRY_BYTES, Draft, EntryType, Envelope, Escalated
from watchkeeper.core.errors import ConfigError, LedgerError, UnrecordableError
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.evidence.redaction import Redactor
from watchkeeper.ledger.tables import ledger_pending, ledger_staged, ledger_writer
from watchkeeper.store.engine import Store
from watchkeeper.store.tables import lease


async def bodies(store: Store) -> list[bytes]:
    async with store.read() as tx:
        return list((await tx.execute(select(ledger_staged.c.body).order_by(ledger_staged.c.id))).scalars())


async def pending(store: Store) -> int:
    async with store.read() as tx:
        return (await tx.execute(select(func.count()).select_from(ledger_pending))).scalar_one()


async def test_entries_are_cloudevents_chained_by_their_writer(store: Store) -> None:
    log = Log(store)
    ids = [*await log.append(draft(1), draft(2)), *await log.append(draft(3, subject=""))]
    prev = GENESIS_PREV
    for seq, (body, entry_id) in enumerate(zip(await bodies(store), ids, strict=True), start=1):
        said = json.loads(body)
        envelope = Envelope.model_validate_json(body)
        assert envelope.to_bytes() == body
        assert (said["specversion"], said["id"], said["source"]) == ("1.0", entry_id, f"{ORIGIN}/main")
        assert (said["wkseq"], said["wkprev"]) == (seq, prev)
        assert said.get("subject") == (None if seq == 3 else envelope.subject)  # CloudEvents knows no empty subject
        prev = hashlib.sha256(body).hexdigest()


async def test_every_kind_of_entry_is_appended_as_it_is(store: Store) -> None:
    log, drafts = Log(store), one_of_each()
    await log.append(*drafts.values())
    for body, made in zip(await bodies(store), drafts.values(), strict=True):
        assert Envelope.model_validate_json(body).typed() == made.data


async def test_state_and_record_do_not_part(store: Store) -> None:
    """What the caller rolls back leaves no entry, no count and no gap in the chain."""
    log = Log(store)
    await log.append(draft())

    async def fail_after_appending() -> None:
        async with store.write() as tx:
            await tx.execute(insert(lease).values(name="n", holder="h", token=1, expires=log.clock.now()))
            await log.ledger.append(tx, draft(2))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail_after_appending()
    await log.append(draft(3))
    assert await log.sequencer.run_once() == 2
    assert (await log.verify()).ok
    async with store.read() as tx:
        assert (await tx.execute(select(lease).where(lease.c.name == "n"))).all() == []
        assert (await tx.execute(select(ledger_writer.c.seq))).scalar_one() == 2


async def test_nothing_to_append_writes_nothing(store: Store) -> None:
    assert await Log(store).append() == ()
    assert await pending(store) == 0


def escalated(length: int) -> Draft:
    data = Escalated(incident=INCIDENT, reason="r" * length)
    return Draft(type=EntryType.ESCALATION, subject=INCIDENT, data=data)


async def test_an_entry_too_large_is_refused_whole(store: Store) -> None:
    log = Log(store)
    await log.append(escalated(1))
    room = MAX_ENTRY_BYTES - len((await bodies(store))[0]) + 1
    await log.append(escalated(room))
    with pytest.raises(UnrecordableError, match="65536 bytes; at most 65535"):
        await log.append(draft(), escalated(room + 1))
    assert [len(body) for body in await bodies(store)][1:] == [MAX_ENTRY_BYTES]


@pytest.mark.parametrize("count", [2**53 + 1, 10**30])
async def test_a_number_that_json_cannot_say_is_refused(store: Store, count: int) -> None:
    with pytest.raises(UnrecordableError, match="canonical JSON"):
        await Log(store).append(draft(), draft(count))
    assert await bodies(store) == []


@pytest.mark.parametrize(("source", "writer"), [("", "w"), ("s", ""), ("s", "a/b"), ("s", "w" * 129)])
def test_names_that_would_be_ambiguous_are_refused(source: str, writer: str) -> None:
    with pytest.raises(ConfigError, match="cannot name"):
        Ledger(Store("sqlite+aiosqlite:///unused.db"), ManualClock(), source=source, writer=writer)


async def test_too_many_that_wait_are_refused_until_the_sequencer_has_caught_up(store: Store) -> None:
    """Bounded, and nothing is half written; the refusal is an error that stops acting."""
    log = Log(store)
    ledger = Ledger(store, log.clock, source=ORIGIN, writer="eager", max_pending=1500)
    for _ in range(2):
        async with store.write() as tx:
            await ledger.append(tx, *[draft()] * 1000)
    with pytest.raises(LedgerError, match="more than 1500 entries wait"):
        async with store.write() as tx:
            await ledger.append(tx, *[draft()] * 1000)
    assert await log.sequencer.run_turn() == 2000
    async with store.write() as tx:
        await ledger.append(tx, draft())
    assert await log.sequencer.run_once() == 1
    assert (await log.fsck()).ok


async def test_many_tasks_of_one_writer_make_one_gapless_chain(store: Store) -> None:
    log = Log(store)
    await asyncio.gather(*(log.append(draft(n + 1), draft(n + 1)) for n in range(8)))
    assert await log.sequencer.run_once() == 16
    assert (await log.verify()).ok


async def test_two_writers_have_chains_of_their_own(store: Store) -> None:
    log = Log(store)
    other = log.writer("other")
    for _ in range(3):
        async with store.write() as tx:
            await log.ledger.append(tx, draft())
            await other.append(tx, draft())
    assert await log.sequencer.run_once() == 6
    assert (await log.verify()).ok
    found = await log.reader.entries(0, 6)
    assert [(e.envelope.source.rpartition("/")[2], e.envelope.wkseq) for e in found] == [
        (writer, seq) for seq in (1, 2, 3) for writer in ("main", "other")
    ]


async def test_an_entry_that_would_hold_a_secret_of_the_settings_is_refused(store: Store) -> None:
    """It could never be erased; what is watched and names itself by our key is told to a person instead."""
    secret = "wk-master-key-2026"
    redactor = Redactor([SecretStr(secret), SecretStr("series")])
    ledger = Ledger(store, ManualClock(), source="/x", writer="main", holds_secret=redactor.holds_known)
    async with store.write() as tx:
        with pytest.raises(UnrecordableError, match="secret of the settings"):
            await ledger.append(tx, draft(1, subject=f"agent:{secret}"))
        assert len(await ledger.append(tx, draft(1, subject="agent:chat"))) == 1
