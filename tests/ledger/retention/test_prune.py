"""Evidence goes when its kind is kept no longer, leaves an entry, and takes nothing with it that is still needed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.testbed.entries import INCIDENT, one_of_each
from tests.testbed.ledgers import Log

from watchkeeper.core.clock import ManualClock
from watchkeeper.core.digest import sha256
from watchkeeper.core.entries import CallRecorded, Draft, EntryType, EvidencePruned
from watchkeeper.core.evidence import EvidenceKind, EvidenceRef
from watchkeeper.ledger.evidence.store import Evidence, destroy
from watchkeeper.ledger.replays.story import story
from watchkeeper.ledger.retention import prune as module
from watchkeeper.ledger.retention.periods import RetentionSettings
from watchkeeper.ledger.retention.progress import Progress
from watchkeeper.ledger.retention.prune import EvidencePruner, PruneReport
from watchkeeper.ledger.tables import evidence as table
from watchkeeper.store.engine import Store

WEEK = RetentionSettings(kinds={EvidenceKind.PROMPT: "7d"})


class Old:
    """A log whose clock moves, with evidence of several ages."""

    def __init__(self, store: Store, settings: RetentionSettings = WEEK) -> None:
        self.store, self.clock = store, ManualClock()
        self.log = Log(store, self.clock)
        self.evidence = Evidence(store, clock=self.clock)
        self.open: frozenset[str] = frozenset()
        self.pruner = EvidencePruner(store, self.log.ledger, self.clock, settings, self.held)

    async def held(self, tx: AsyncConnection) -> frozenset[str]:
        return self.open

    async def put(self, kind: EvidenceKind, body: bytes = b"{}") -> EvidenceRef:
        async with self.store.write() as tx:
            return await self.evidence.put(tx, kind, body)

    async def call(self, subject: str = INCIDENT) -> EvidenceRef:
        """A call of an incident; its request is evidence."""
        request = await self.put(EvidenceKind.REQUEST, b'{"rpm_limit": 30}')
        made = one_of_each()[EntryType.CALL].data
        assert isinstance(made, CallRecorded)
        data = made.model_copy(update={"request": request, "reply": None})
        await self.log.append(Draft(type=EntryType.CALL, subject=subject, data=data))
        return request

    def later(self, days: float) -> None:
        self.clock.advance(timedelta(days=days).total_seconds())

    async def left(self) -> int:
        async with self.store.read() as tx:
            return int((await tx.execute(select(func.count()).select_from(table))).scalar_one())

    async def told(self) -> list[EvidencePruned]:
        while await self.log.sequencer.run_once():
            pass
        found = await self.log.reader.find(types=(EntryType.EVIDENCE_PRUNED,))
        return [each for each in (entry.envelope.typed() for entry in found) if isinstance(each, EvidencePruned)]


async def test_each_kind_goes_in_its_own_time_and_leaves_an_entry(store: Store) -> None:
    old = Old(store)
    prompts = [await old.put(EvidenceKind.PROMPT, b"a prompt") for _ in range(3)]
    call = await old.call()
    old.later(8)
    assert await old.pruner.run_once() == PruneReport(
        kinds=(module.PrunedKind(kind=EvidenceKind.PROMPT, count=3, size=24),), kept=0, dry=False
    )
    assert await old.evidence.get(call.commitment) is not None
    (told,) = await old.told()
    names = "".join(f"{name}\n" for name in sorted(ref.commitment for ref in prompts))
    assert (told.kind, told.count, told.size) == (EvidenceKind.PROMPT, 3, 24)
    assert told.before == old.clock.now() - timedelta(days=7)
    assert told.digest == sha256(names.encode())
    old.later(83)
    assert [each.kind for each in (await old.pruner.run_once()).kinds] == [EvidenceKind.REQUEST]
    assert (await old.left(), (await old.log.verify()).ok) == (0, True)
    (step,) = await story(old.log.reader, old.evidence, INCIDENT)
    assert step.evidence[0].text is None


async def test_nothing_due_leaves_no_entry(store: Store) -> None:
    old = Old(store)
    await old.put(EvidenceKind.PROMPT)
    assert (await old.pruner.run_once()).kinds == ()
    assert await old.told() == []


async def test_a_dry_run_says_what_would_go_and_touches_nothing(store: Store) -> None:
    old = Old(store)
    await old.put(EvidenceKind.PROMPT)
    old.later(8)
    said = [each async for each in old.pruner.run(dry=True)]
    assert said == [
        Progress(what="evidence", done=1, total=1),
        PruneReport(kinds=(module.PrunedKind(kind=EvidenceKind.PROMPT, count=1, size=2),), kept=0, dry=True),
    ]
    assert (await old.left(), await old.told()) == (1, [])


@pytest.mark.parametrize("sequenced", [True, False])
async def test_evidence_of_an_open_incident_is_kept_until_it_has_closed(store: Store, sequenced: bool) -> None:
    old = Old(store)
    mine, other = await old.call(), await old.call("inc_other")
    if sequenced:
        await old.log.sequencer.run_once()
    old.open = frozenset({INCIDENT})
    old.later(1000)
    report = await old.pruner.run_once()
    assert (report.kept, [each.count for each in report.kinds]) == (1, [1])
    assert await old.evidence.get(mine.commitment) is not None
    assert await old.evidence.get(other.commitment) is None
    old.open = frozenset()
    assert (await old.pruner.run_once()).kept == 0
    assert await old.evidence.get(mine.commitment) is None


async def test_it_goes_in_batches_of_rows_and_bytes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 4)
    monkeypatch.setattr(module, "BATCH_BYTES", 20)
    old = Old(store)
    for size in (10, 10, 10, 50, 1, 1, 1, 1, 1):
        await old.put(EvidenceKind.PROMPT, b"x" * size)
    old.later(8)
    assert (await old.pruner.run_once()).kinds[0].count == 9
    told = await old.told()
    assert sum(each.count for each in told) == 9
    assert all(each.count <= 4 and (each.count == 1 or each.size <= 20) for each in told)
    assert await old.left() == 0


async def test_who_stops_listening_stops_it_between_batches(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    old = Old(store)
    for _ in range(5):
        await old.put(EvidenceKind.PROMPT)
    old.later(8)
    async for _ in old.pruner.run():
        break
    assert (await old.left(), [each.count for each in await old.told()]) == (3, [2])
    assert (await old.pruner.run_once()).kinds[0].count == 3


async def test_what_another_process_deleted_first_is_not_told_twice(store: Store) -> None:
    old = Old(store)
    first, second = await old.put(EvidenceKind.PROMPT), await old.put(EvidenceKind.PROMPT)
    async with store.write() as tx:
        assert await destroy(tx, [first.commitment, "hmac-sha256:" + "0" * 64]) == [first]
    old.later(8)
    assert (await old.pruner.run_once()).kinds[0].count == 1
    assert [each.count for each in await old.told()] == [1]
    assert await old.evidence.get(second.commitment) is None


async def test_the_digest_is_over_the_commitments_in_order_of_their_text(store: Store) -> None:
    """Not of their time: whoever has the references alone can compute it."""
    old = Old(store)
    refs = []
    for number in range(6):
        refs.append(await old.put(EvidenceKind.PROMPT, b"x%d" % number))
        old.clock.advance(1)
    old.later(8)
    await old.pruner.run_once()
    (told,) = await old.told()
    assert told.digest == sha256("".join(sorted(f"{ref.commitment}\n" for ref in refs)).encode())
