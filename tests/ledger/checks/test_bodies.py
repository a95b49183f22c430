"""A body that entries name is there, or an entry accounts for it: what fsck misses, and what it rightly does not."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.testbed.entries import INCIDENT, PERSON, one_of_each
from tests.testbed.ledgers import Log
from tests.testbed.stores import tampering

from watchkeeper.core.clock import ManualClock
from watchkeeper.core.entries import Draft, EntryType, OrderRecorded
from watchkeeper.core.errors import UnrecordableError
from watchkeeper.core.evidence import EvidenceKind, EvidenceRef
from watchkeeper.ledger.checks.bodies import Bodies
from watchkeeper.ledger.checks.examine import Gone, Named
from watchkeeper.ledger.evidence.erase import Eraser
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.ledger.retention.periods import RetentionSettings
from watchkeeper.ledger.retention.prune import EvidencePruner
from watchkeeper.ledger.tables import evidence as table
from watchkeeper.store.engine import Store

WEEK = RetentionSettings(evidence="7d")


class Kept:
    """A log whose clock moves. Each `say` keeps a comment and names it in an entry."""

    def __init__(self, store: Store) -> None:
        self.store, self.clock = store, ManualClock()
        self.log = Log(store, self.clock)
        self.evidence = Evidence(store, clock=self.clock)

    async def say(self) -> EvidenceRef:
        async with self.store.write() as tx:
            ref = await self.evidence.put(tx, EvidenceKind.COMMENT, b"go on")
            await self.name(tx, ref)
        return ref

    async def name(self, tx: AsyncConnection, ref: EvidenceRef) -> None:
        order = one_of_each()[EntryType.ORDER].data
        assert isinstance(order, OrderRecorded)
        data = order.model_copy(update={"comment": ref})
        await self.log.ledger.append(tx, Draft(type=EntryType.ORDER, subject=INCIDENT, data=data))

    async def erase(self, ref: EvidenceRef) -> None:
        await Eraser(self.store, self.log.ledger, self.evidence).erase([ref.commitment], PERSON, "asked for")

    async def prune(self) -> int:
        """Prunes what is older than a week; returns how many bodies went."""

        async def held(tx: AsyncConnection) -> frozenset[str]:
            return frozenset()

        report = await EvidencePruner(self.store, self.log.ledger, self.clock, WEEK, held).run_once()
        return sum(kind.count for kind in report.kinds)

    async def lose(self, *refs: EvidenceRef) -> None:
        """The adversary deletes rows, and records nothing."""
        async with tampering(self.store) as tx:
            await tx.execute(delete(table).where(table.c.commitment.in_([ref.commitment for ref in refs])))

    def later(self, **passed: float) -> None:
        self.clock.advance(timedelta(**passed).total_seconds())

    async def missed(self) -> list[str]:
        """How the missed bodies' names begin; nothing else is found."""
        while await self.log.sequencer.run_once():
            pass
        assert (await self.log.verify()).ok
        problems = (await self.log.fsck()).problems
        assert {problem.code.value for problem in problems} <= {"evidence_missing"}
        return [problem.where.removeprefix("evidence ").rstrip("…") for problem in problems]


@pytest.fixture
def kept(store: Store) -> Kept:
    return Kept(store)


def begins(ref: EvidenceRef) -> str:
    return ref.commitment[: len("hmac-sha256:") + 16]


async def test_a_body_that_is_gone_without_an_entry_is_missed_by_name(kept: Kept) -> None:
    first, _, third = await kept.say(), await kept.say(), await kept.say()
    assert await kept.missed() == []
    await kept.lose(third)
    assert await kept.missed() == [begins(third)]
    await kept.lose(first)
    assert len(await kept.missed()) == 1, "the newest of its kind, or of those one"


async def test_what_was_erased_is_accounted_for_by_name_alone(kept: Kept) -> None:
    first, second = await kept.say(), await kept.say()
    await kept.erase(first)
    assert await kept.missed() == []
    await kept.lose(second)
    assert await kept.missed() == [begins(second)]


async def test_what_was_pruned_is_accounted_for_by_number(kept: Kept) -> None:
    old = [await kept.say() for _ in range(3)]
    kept.later(days=4)
    young = await kept.say()
    kept.later(days=4)
    assert await kept.prune() == len(old)
    assert await kept.missed() == []
    await kept.lose(young)
    assert await kept.missed() == [begins(young)]


async def test_what_is_younger_than_what_was_pruned_is_not_accounted_for(kept: Kept) -> None:
    """Bodies that no entry names were pruned: as many as the adversary may hope to delete."""
    async with kept.store.write() as tx:
        for _ in range(3):
            await kept.evidence.put(tx, EvidenceKind.COMMENT, b"named by nobody")
    kept.later(days=8)
    young = await kept.say()
    assert await kept.prune() == 3
    assert await kept.missed() == []
    await kept.lose(young)
    assert await kept.missed() == [begins(young)]


async def test_an_old_body_that_is_named_again_later_is_as_old_as_it_was(kept: Kept) -> None:
    ref = await kept.say()
    kept.later(days=8)
    async with kept.store.write() as tx:
        await kept.name(tx, ref)
    assert await kept.prune() == 1
    assert await kept.missed() == []
    async with kept.store.write() as tx:
        await kept.name(tx, ref)
    assert await kept.missed() == []


async def test_a_body_that_came_into_its_entry_a_little_later_was_pruned_by_its_own_time(kept: Kept) -> None:
    """A call's request is kept before it is sent; the entry is written after the reply."""
    async with kept.store.write() as tx:
        ref = await kept.evidence.put(tx, EvidenceKind.COMMENT, b"go on")
    kept.later(seconds=30)
    async with kept.store.write() as tx:
        await kept.name(tx, ref)
    kept.later(days=7, seconds=-15)
    assert await kept.prune() == 1
    assert await kept.missed() == []


async def test_a_full_store_leaves_no_entry_that_names_what_was_not_kept(kept: Kept) -> None:
    full = Evidence(kept.store, clock=kept.clock, max_bytes=1)
    with pytest.raises(UnrecordableError, match="the evidence store is full"):
        await kept.log.append_whole(one_of_each()[EntryType.FINDING], evidence=full)
    assert await kept.missed() == []
    assert await kept.log.reader.size() == 0


def test_a_kind_s_account_is_of_no_use_to_another() -> None:
    bodies = Bodies()
    bodies.name([Named(1, 1, "prompt", "2026-01-01T00:00:00.000000Z")])
    bodies.destroyed([Gone("reply", 9, "2027-01-01T00:00:00.000000Z")])
    assert bodies.missing() == ["hmac-sha256:0000000000000001…"]
    bodies.destroyed([Gone("prompt", 1, "9999-12-31T23:59:59.999999Z")])
    assert bodies.missing() == []
