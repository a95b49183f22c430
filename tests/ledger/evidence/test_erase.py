"""Erasing evidence: body and salt are gone for good, the log says so and verifies, and half an erasure cannot be."""

from __future__ import annotations

import json
import random
import zlib
from pathlib import Path

import pytest
from sqlalchemy import event, select
from tests.testbed.entries import INCIDENT, PERSON, one_of_each
from tests.testbed.ledgers import Log
from tests.testbed.stores import create_tables

from watchkeeper.core.entries import CallRecorded, Draft, EntryType, EvidenceErased
from watchkeeper.core.errors import ConflictError, NotFoundError, UnrecordableError
from watchkeeper.core.evidence import EvidenceKind, EvidenceRef
from watchkeeper.core.ids import IncidentId
from watchkeeper.ledger.evidence.erase import PER_ENTRY, Eraser
from watchkeeper.ledger.evidence.store import Evidence, destroy
from watchkeeper.ledger.replays.story import Gone, story
from watchkeeper.ledger.tables import evidence as table
from watchkeeper.store.engine import Store

REASON = "asked for by the person it is about"


class Kept:
    """A log in which an incident's call refers to a request and a reply."""

    def __init__(self, store: Store) -> None:
        self.store, self.log = store, Log(store)
        self.evidence = Evidence(store, clock=self.log.clock)
        self.eraser = Eraser(store, self.log.ledger, self.evidence)

    async def call(self, request: bytes = b'{"rpm_limit": 30}', reply: bytes = b'{"ok": true}') -> list[EvidenceRef]:
        data = one_of_each()[EntryType.CALL].data
        assert isinstance(data, CallRecorded)
        async with self.store.write() as tx:
            refs = [
                await self.evidence.put(tx, EvidenceKind.REQUEST, request),
                await self.evidence.put(tx, EvidenceKind.REPLY, reply),
            ]
            call = data.model_copy(update={"request": refs[0], "reply": refs[1]})
            await self.log.ledger.append(tx, Draft(type=EntryType.CALL, subject=INCIDENT, data=call))
        await self.log.sequencer.run_once()
        return refs

    async def told(self) -> list[EvidenceErased]:
        await self.log.sequencer.run_once()
        entries = await self.log.reader.entries(0, await self.log.reader.size())
        typed = [entry.envelope.typed() for entry in entries]
        return [data for data in typed if isinstance(data, EvidenceErased)]


@pytest.fixture
def kept(store: Store) -> Kept:
    return Kept(store)


async def test_what_is_erased_is_gone_and_the_log_says_so_and_verifies(kept: Kept) -> None:
    request, reply = await kept.call()
    done = await kept.eraser.erase([reply.commitment], PERSON, REASON)
    assert [use.ref for use in done.found] == [reply]
    assert await kept.evidence.get(reply.commitment) is None
    assert await kept.evidence.get(request.commitment) is not None
    (told,) = await kept.told()
    assert (told.erased, told.by) == ((reply,), PERSON)
    assert told.reason is not None
    assert await kept.evidence.get(told.reason.commitment) == REASON.encode()
    assert (await kept.log.verify()).ok


async def test_a_look_says_what_would_go_and_who_refers_to_it(kept: Kept) -> None:
    request, reply = await kept.call()
    looked = await kept.eraser.look([reply.commitment, request.commitment, "hmac-sha256:" + "0" * 64])
    assert [use.ref for use in looked.found] == [reply, request]
    assert [(use.type, use.subject) for use in looked.found[0].entries] == [(EntryType.CALL, INCIDENT)]
    assert looked.gone_before == ("hmac-sha256:" + "0" * 64,)
    assert looked.entries == ()
    assert await kept.evidence.get(reply.commitment) is not None


async def test_what_is_gone_already_is_no_error_for_the_rest(kept: Kept) -> None:
    request, reply = await kept.call()
    await kept.eraser.erase([reply.commitment], PERSON, REASON)
    done = await kept.eraser.erase([reply.commitment, request.commitment], PERSON, REASON)
    assert (done.gone_before, [use.ref for use in done.found]) == ((reply.commitment,), [request])
    again = await kept.eraser.erase([reply.commitment], PERSON, REASON)
    assert (again.found, again.entries) == ((), ())
    assert len(await kept.told()) == 2


async def test_an_incident_is_erased_whole_or_by_kind(kept: Kept) -> None:
    request, reply = await kept.call()
    assert await kept.eraser.of_incident(INCIDENT, EvidenceKind.REPLY) == (reply.commitment,)
    assert await kept.eraser.of_incident(INCIDENT, None) == (request.commitment, reply.commitment)
    for incident, kind in ((INCIDENT, EvidenceKind.PROMPT), (IncidentId("inc_unknown"), None)):
        with pytest.raises(NotFoundError):
            await kept.eraser.of_incident(incident, kind)


async def test_a_commitment_may_be_given_by_how_it_begins(kept: Kept) -> None:
    request, _ = await kept.call()
    short = request.commitment.removeprefix("hmac-sha256:")[:12]
    assert await kept.eraser.named([short, "0" * 12]) == (request.commitment, "hmac-sha256:" + "0" * 12)
    for _ in range(20):
        await kept.call()
    with pytest.raises(ConflictError, match="more than one"):
        await kept.eraser.named([""])


async def test_many_bodies_are_told_in_several_entries(kept: Kept) -> None:
    async with kept.store.write() as tx:
        refs = [await kept.evidence.put(tx, EvidenceKind.PROMPT, b"x") for _ in range(PER_ENTRY + 1)]
    done = await kept.eraser.erase([ref.commitment for ref in refs], PERSON, REASON)
    assert (len(done.found), len(done.entries)) == (PER_ENTRY + 1, 2)
    assert [len(told.erased) for told in await kept.told()] == [PER_ENTRY, 1]


async def test_invariant_11_what_cannot_be_recorded_is_not_erased(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    _, reply = await kept.call()

    async def refuse(*_: object) -> None:
        raise UnrecordableError("the log is full")

    monkeypatch.setattr(kept.log.ledger, "append", refuse)
    with pytest.raises(UnrecordableError):
        await kept.eraser.erase([reply.commitment], PERSON, REASON)
    assert await kept.evidence.get(reply.commitment) == b'{"ok": true}'


async def test_the_story_tells_erased_from_pruned(kept: Kept) -> None:
    request, reply = await kept.call()
    await kept.eraser.erase([reply.commitment], PERSON, REASON, INCIDENT)
    async with kept.store.write() as tx:
        assert await destroy(tx, [request.commitment]) == [request]
    await kept.log.sequencer.run_once()
    call, erased = await story(kept.log.reader, kept.evidence, INCIDENT)
    assert [shown.gone for shown in call.evidence] == [Gone.PRUNED, Gone.ERASED]
    assert erased.type == EntryType.EVIDENCE_ERASED
    assert [shown.gone for shown in erased.evidence] == [Gone.ERASED, None]


async def test_the_reason_is_redacted(kept: Kept) -> None:
    _, reply = await kept.call()
    await kept.eraser.erase([reply.commitment], PERSON, "ann@example.com asked for it")
    (told,) = await kept.told()
    assert told.reason is not None
    assert await kept.evidence.get(told.reason.commitment) == b"[redacted:email] asked for it"


@pytest.mark.parametrize("size", [60, 3000, 200_000])
async def test_the_bytes_are_in_no_file_of_the_database(tmp_path: Path, size: int) -> None:
    """Small bodies share a page with others, large ones have pages of their own; both were in the write-ahead log."""
    store = Store(f"sqlite+aiosqlite:///{tmp_path / 'watchkeeper.db'}")
    await create_tables(store)
    kept, source = Kept(store), random.Random(size)
    bodies = [json.dumps({"n": source.randbytes(size // 2).hex()}).encode() for _ in range(30)]
    refs = [(await kept.call(reply=body))[1] for body in bodies]
    victims = refs[10:20]
    async with store.read() as tx:
        rows = {row.commitment: row for row in await tx.execute(select(table))}
    marks = [mark for ref in victims for mark in (rows[ref.commitment].salt, zlib.compress(bodies[refs.index(ref)], 6))]
    pieces = [mark[at : at + 24] for mark in marks for at in range(2, max(3, len(mark) - 24), 997)]
    assert all(any(piece in file for file in files(tmp_path)) for piece in pieces[:3]), "the marks cannot be found"
    done = await kept.eraser.erase([ref.commitment for ref in victims], PERSON, REASON)
    assert done.overwritten
    left = [piece for piece in pieces if any(piece in file for file in files(tmp_path))]
    assert left == []
    assert [await kept.evidence.get(ref.commitment) for ref in refs[:10]] == bodies[:10]
    assert (await kept.log.verify()).ok
    await store.close()


def files(directory: Path) -> list[bytes]:
    return [file.read_bytes() for file in sorted(directory.iterdir())]


async def test_a_reader_that_holds_up_the_write_ahead_log_is_said(tmp_path: Path) -> None:
    store = Store(f"sqlite+aiosqlite:///{tmp_path / 'watchkeeper.db'}")

    @event.listens_for(store._writer.sync_engine, "connect")
    def impatient(connection: object, record: object) -> None:
        connection.execute("PRAGMA busy_timeout=10")  # type: ignore[attr-defined]  # DBAPI connections are untyped

    await create_tables(store)
    kept = Kept(store)
    _, reply = await kept.call()
    async with store.read() as tx:
        await tx.execute(select(table))
        assert not (await kept.eraser.erase([reply.commitment], PERSON, REASON)).overwritten
    assert await store.settle()
    await store.close()
