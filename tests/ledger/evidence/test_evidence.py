"""The evidence store: bounded, redacted first, bound to its commitment, erasable."""

from __future__ import annotations

import os

import pytest
from pydantic import SecretStr
from sqlalchemy import delete, select, update
from tests.testbed.stores import tampering

from watchkeeper.core.clock import ManualClock
from watchkeeper.core.digest import commitment
from watchkeeper.core.errors import UnrecordableError, VerificationError
from watchkeeper.core.evidence import EvidenceKind, EvidenceRef
from watchkeeper.ledger.evidence.redaction import Redactor
from watchkeeper.ledger.evidence.store import MAX_BODY_BYTES, Evidence
from watchkeeper.ledger.tables import evidence as table
from watchkeeper.store.engine import Store

BODY = b'{"calls": [1, 2, 3]}'


async def put(store: Store, body: bytes, evidence: Evidence | None = None) -> EvidenceRef:
    async with store.write() as tx:
        return await (evidence or Evidence(store)).put(tx, EvidenceKind.CALLS, body)


async def test_a_body_is_found_by_its_commitment(store: Store) -> None:
    ref = await put(store, BODY)
    assert (ref.kind, ref.size, ref.media_type) == (EvidenceKind.CALLS, len(BODY), "application/json")
    assert await Evidence(store).get(ref.commitment) == BODY


async def test_equal_bodies_have_different_commitments(store: Store) -> None:
    """A commitment without its salt says nothing about the body, not even that two are the same."""
    assert (await put(store, BODY)).commitment != (await put(store, BODY)).commitment


async def test_an_erased_body_is_none(store: Store) -> None:
    ref = await put(store, BODY)
    async with store.write() as tx:
        await tx.execute(delete(table).where(table.c.commitment == ref.commitment))
    assert await Evidence(store).get(ref.commitment) is None
    assert await Evidence(store).get("hmac-sha256:" + "0" * 64) is None


async def test_secrets_never_reach_the_table(store: Store) -> None:
    evidence = Evidence(store, Redactor([SecretStr("correct-horse-battery")]))
    ref = await put(store, b'{"note": "use correct-horse-battery", "mail": "ann@example.com"}', evidence)
    async with store.read() as tx:
        row = (await tx.execute(select(table))).one()
    found = await evidence.get(ref.commitment)
    assert found == b'{"note": "use [redacted:secret]", "mail": "[redacted:email]"}'
    assert ref.size == len(found) == row.size
    assert ref.commitment == commitment(row.salt, found)


async def test_a_body_above_the_bound_is_refused(store: Store) -> None:
    await put(store, os.urandom(MAX_BODY_BYTES // 2).hex().encode())
    with pytest.raises(UnrecordableError, match="at most 1048576"):
        await put(store, b"x" * (MAX_BODY_BYTES + 1))


async def test_invariant_10_a_full_store_refuses_what_was_seen_and_keeps_what_was_done(store: Store) -> None:
    clock = ManualClock()
    evidence = Evidence(store, clock=clock, max_bytes=3000)
    ref = await put(store, os.urandom(1000).hex().encode(), evidence)
    await put(store, os.urandom(1000).hex().encode(), evidence)
    with pytest.raises(UnrecordableError, match="full"):
        await put(store, os.urandom(1000).hex().encode(), evidence)
    async with store.write() as tx:
        for kind in (EvidenceKind.REQUEST, EvidenceKind.REPLY, EvidenceKind.COMMENT):
            await evidence.put(tx, kind, os.urandom(1000).hex().encode())
        await tx.execute(delete(table).where(table.c.commitment != ref.commitment))
    clock.advance(61)
    assert (await put(store, b"there is room again", evidence)).size == 19


@pytest.mark.parametrize("column", ["body", "salt"])
async def test_an_altered_body_or_salt_is_refused(store: Store, column: str) -> None:
    ref, other = await put(store, BODY), await put(store, b"{}")
    async with tampering(store) as tx:
        foreign = (await tx.execute(select(table.c[column]).where(table.c.commitment == other.commitment))).scalar_one()
        await tx.execute(update(table).where(table.c.commitment == ref.commitment).values({column: foreign}))
    with pytest.raises(VerificationError, match="commitment"):
        await Evidence(store).get(ref.commitment)


@pytest.mark.parametrize("stored", [b"", b"not zlib", b"x\x9c\xcbH\xcd\xc9\xc9\x07\x00\x06,\x02\x15trailing"])
async def test_what_zlib_cannot_read_is_refused(store: Store, stored: bytes) -> None:
    ref = await put(store, BODY)
    async with tampering(store) as tx:
        await tx.execute(update(table).values(body=stored))
    with pytest.raises(VerificationError):
        await Evidence(store).get(ref.commitment)
