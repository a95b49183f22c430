"""Old entries leave the database once the archive has them; what is left still verifies, and says what is gone."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.testbed.archives import archive, checked
from tests.testbed.entries import INCIDENT, one_of_each
from tests.testbed.ledgers import Log, closing, draft
from tests.testbed.stores import tampering

from watchkeeper.core.clock import ManualClock
from watchkeeper.core.entries import EntriesPruned, EntryType
from watchkeeper.core.errors import ConfigError, ConflictError, VerificationError
from watchkeeper.core.ids import IncidentId
from watchkeeper.ledger.archive.directory import DirectoryStorage
from watchkeeper.ledger.archive.storage import Storage
from watchkeeper.ledger.cosigning import cosigned
from watchkeeper.ledger.cosigning.cosignature import COSIGNATURE_ED25519, CosigningKey
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.ledger.exports.export import export, exported_cosigned, verify_export
from watchkeeper.ledger.replays.story import Part, story
from watchkeeper.ledger.retention import prune_entries as module
from watchkeeper.ledger.retention.periods import RetentionSettings
from watchkeeper.ledger.retention.progress import Progress
from watchkeeper.ledger.retention.prune_entries import EntryPruner, EntryPruneReport
from watchkeeper.ledger.signing.note import Note, b64_strict
from watchkeeper.ledger.tables import ledger_checkpoint, ledger_entry, ledger_pruned, ledger_staged, ledger_writer
from watchkeeper.ledger.tree.merkle import verify_inclusion
from watchkeeper.store.engine import Store

YEAR = RetentionSettings(entries="1y")


class Old:
    """A log with a clock that moves, and its archive."""

    def __init__(self, store: Store, place: Path) -> None:
        self.store, self.clock = store, ManualClock()
        self.log = Log(store, self.clock)
        self.storage = DirectoryStorage(place)
        self.held: frozenset[str] = frozenset()

    def pruner(self, settings: RetentionSettings = YEAR, storage: Storage | None = None) -> EntryPruner:
        async def held(tx: AsyncConnection) -> frozenset[str]:
            return self.held

        kept = self.storage if storage is None else storage
        key = self.log.key.verifier
        return EntryPruner(self.store, self.log.ledger, self.clock, settings, kept, [key], held, holder="one")

    async def prune(self, *, dry: bool = False) -> EntryPruneReport:
        report = [each async for each in self.pruner().run(dry=dry)][-1]
        while await self.log.sequencer.run_once():
            pass
        assert isinstance(report, EntryPruneReport)
        return report

    def later(self, days: float) -> None:
        self.clock.advance(timedelta(days=days).total_seconds())

    async def left(self) -> int:
        async with self.store.read() as tx:
            return int((await tx.execute(select(func.count()).select_from(ledger_staged))).scalar_one())

    async def told(self) -> list[EntriesPruned]:
        found = await self.log.reader.find(types=(EntryType.ENTRIES_PRUNED,))
        return [each for each in (entry.envelope.typed() for entry in found) if isinstance(each, EntriesPruned)]

    async def problems(self, anchor: str | None = None) -> set[tuple[str, str]]:
        report = await self.log.fsck(anchor)
        assert report.ok is not bool(report.problems)
        return {(each.where, each.code.value) for each in report.problems}


@pytest.fixture
def old(store: Store, tmp_path: Path) -> Old:
    return Old(store, tmp_path / "archive")


async def test_invariant_8_a_pruned_range_still_verifies(old: Old) -> None:
    await old.log.grow(300, 300)
    anchor = await old.log.checkpoint()
    proof = await old.log.reader.inclusion(17)
    await archive(old.log, old.storage)
    old.later(300)
    await old.log.grow(300)
    await archive(old.log, old.storage)
    old.later(100)
    report = await old.prune()
    assert (report.first, report.end, report.count, report.kept, report.dry) == (0, 512, 512, 0, False)
    (told,) = await old.told()
    assert (told.first, told.end) == (0, 512)
    verified = await old.log.verify(anchor)
    assert (verified.problems, verified.pruned, verified.rollback) == ((), 512, "excluded")
    assert any(line.startswith("512 entries are pruned") for line in verified.lines())
    again = await old.log.reader.inclusion(17, proof.size)
    assert again == proof
    hashes = [b64_strict(each) for each in again.hashes]
    assert verify_inclusion(17, again.size, bytes.fromhex(again.leaf), hashes, b64_strict(again.root))
    assert checked(old.log, old.storage).ok
    assert (await old.prune()).count == 0
    assert len(await old.told()) == 1


async def test_a_dry_run_says_what_would_go_and_touches_nothing(old: Old) -> None:
    await old.log.grow(600)
    await archive(old.log, old.storage)
    old.later(400)
    report = await old.prune(dry=True)
    assert (report.end, report.count, report.dry, await old.left(), await old.told()) == (512, 512, True, 601, [])


async def test_what_is_not_archived_stays(old: Old) -> None:
    await old.log.grow(600)
    old.later(400)
    with pytest.raises(ConflictError, match="entries 0 to 512 are old enough, and not in the archive"):
        await old.prune()
    await archive(old.log, old.storage)
    await old.log.grow(600)
    old.later(400)
    assert (await old.prune()).end == 512
    with pytest.raises(ConflictError, match="entries 512 to 1024"):
        await old.prune()
    assert await old.problems() == set()


async def test_what_is_young_stays_though_it_is_archived(old: Old) -> None:
    await old.log.grow(600)
    await archive(old.log, old.storage)
    old.later(300)
    assert (await old.prune()).count == 0
    assert (await old.told(), await old.left()) == ([], 601)


@pytest.mark.parametrize("spoil", ["tile/entries/001", "tile/0/000", "manifests/0.json", "checkpoints/600"])
@pytest.mark.parametrize("gone", [True, False])
async def test_nothing_is_deleted_of_what_cannot_be_read_back(old: Old, spoil: str, gone: bool) -> None:
    await old.log.grow(600)
    await archive(old.log, old.storage)
    old.later(400)
    path = Path(old.storage.place) / spoil
    if gone:
        path.unlink()
    else:
        path.chmod(0o644)
        *kept, last = path.read_bytes()
        path.write_bytes(bytes([*kept, last ^ 1]))
    with pytest.raises(VerificationError, match="not in the archive as they were written"):
        await old.prune()
    assert (await old.left(), await old.told(), await old.problems()) == (601, [], set())


async def test_without_a_period_or_an_archive_entries_are_kept_for_ever(old: Old) -> None:
    with pytest.raises(ConfigError, match="kept for ever"):
        [each async for each in old.pruner(RetentionSettings()).run()]
    pruner = old.pruner()
    pruner._storage = None
    with pytest.raises(ConfigError, match="there is no archive"):
        [each async for each in pruner.run()]


async def test_what_the_rest_is_explained_by_is_never_deleted(old: Old) -> None:
    """One entry of each kind, in a range that is pruned whole."""
    drafts = one_of_each()
    await old.log.append_whole(*drafts.values())
    await old.log.append(*(draft(n + 1) for n in range(300)))
    await old.log.sequencer.run_once()
    await archive(old.log, old.storage)
    old.later(400)
    report = await old.prune()
    assert report.count == 256 - len(module.KEPT)
    left = {entry.envelope.type for entry in await old.log.reader.entries(0, 256)}
    assert left == {kind.value for kind in module.KEPT}
    assert await old.problems() == set()


async def test_a_held_incident_keeps_all_its_entries_until_it_is_over(old: Old) -> None:
    other = IncidentId("inc_other")
    await old.log.append(*(draft(n + 1, other if n % 3 else INCIDENT) for n in range(300)))
    await old.log.sequencer.run_once()
    await archive(old.log, old.storage)
    old.later(400)
    old.held = frozenset({INCIDENT})
    report = await old.prune()
    assert (report.end, report.kept, report.count) == (256, 86, 170)
    assert await old.problems() == set()
    assert len(await old.log.reader.by_subject(INCIDENT)) == 100
    old.held = frozenset()
    again = await old.prune()
    assert (again.first, again.end, again.count, again.kept) == (256, 256, 86, 0)
    assert (len(await old.told()), await old.problems()) == (1, set())


async def test_the_story_says_what_is_pruned_and_where_it_is(old: Old) -> None:
    drafts = one_of_each()
    await old.log.append(drafts[EntryType.INCIDENT_OPENED], drafts[EntryType.FINDING], drafts[EntryType.PLAN])
    await old.log.append(*(draft(n + 1, "") for n in range(200)), closing())
    await old.log.append(*(draft(n + 1, "") for n in range(400)))
    await old.log.sequencer.run_once()
    await archive(old.log, old.storage)
    whole = await story(old.log.reader, Evidence(old.store), INCIDENT)
    assert Part.PRUNED not in [step.part for step in whole]
    old.later(400)
    await old.prune()
    opened, archived, pruned, closed = await story(old.log.reader, Evidence(old.store), INCIDENT)
    assert (opened.part, closed.part, closed.index) == (Part.SEEN, Part.CLOSED, 203)
    assert (archived.part, archived.data["place"]) == (Part.PRUNED, old.storage.place)
    assert (pruned.part, pruned.data["archive"]) == (Part.PRUNED, archived.data["digest"])


async def test_several_writers_and_one_that_never_wrote_again(old: Old) -> None:
    retired = old.log.writer("retired")
    for count in (100, 100, 100):
        async with old.store.write() as tx:
            await retired.append(tx, *(draft(n + 1) for n in range(count // 2)))
        await old.log.append(*(draft(n + 1) for n in range(count)))
        await old.log.sequencer.run_once()
    await archive(old.log, old.storage)
    old.later(400)
    await old.prune()
    await old.log.grow(3)
    report = await old.log.verify()
    assert (report.problems, report.pruned) == ((), 256)


class TestTampering:
    """The adversary owns the database, and hides behind pruning."""

    @pytest.fixture
    async def pruned(self, old: Old) -> Old:
        await old.log.grow(600)
        await archive(old.log, old.storage)
        old.later(400)
        await old.log.grow(300)
        await old.prune()
        assert await old.problems() == set()
        return old

    async def test_a_deletion_beyond_the_mark_is_found(self, pruned: Old) -> None:
        async with tampering(pruned.store) as tx:
            await tx.execute(delete(ledger_staged).where(ledger_staged.c.seq == 530))
        assert ("entry 529", "missing_entry") in await pruned.problems()

    async def test_a_mark_without_its_entry_is_found(self, pruned: Old) -> None:
        async with tampering(pruned.store) as tx:
            await tx.execute(insert(ledger_pruned).values(end=768, last_staged_id=768, at=pruned.clock.now()))
            await tx.execute(delete(ledger_staged).where(ledger_staged.c.seq == 530))
        assert ("pruned 768", "pruned_untold") in await pruned.problems()

    async def test_a_leaf_below_the_mark_that_was_changed_is_found(self, pruned: Old) -> None:
        async with tampering(pruned.store) as tx:
            await tx.execute(update(ledger_entry).where(ledger_entry.c.idx == 5).values(leaf=bytes(32)))
        assert ("checkpoint 600", "checkpoint_root") in await pruned.problems()

    async def test_a_leaf_below_the_mark_that_is_gone_is_found(self, pruned: Old) -> None:
        async with tampering(pruned.store) as tx:
            await tx.execute(delete(ledger_entry).where(ledger_entry.c.idx == 5))
        assert ("entry 5", "missing_entry") in await pruned.problems()

    async def test_counts_that_miss_more_than_was_pruned_are_found(self, pruned: Old) -> None:
        """A kept entry of a writer is passed off as pruned: its row says that it never was."""
        async with tampering(pruned.store) as tx:
            await tx.execute(insert(ledger_writer).values(writer="ghost", seq=4, prev_hash=bytes(32)))
        assert ("pruned", "pruned_differs") in await pruned.problems()


@pytest.mark.parametrize("at", range(1, 4))
async def test_stopped_at_any_write_it_goes_on(old: Old, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each transaction of a run in turn is the last: nothing is deleted that is not told, and the next run ends it."""
    monkeypatch.setattr(module, "BATCH", 200)
    await old.log.grow(600)
    await archive(old.log, old.storage)
    old.later(400)
    steps = 0
    async for each in old.pruner().run():
        steps += isinstance(each, Progress)
        if steps == at:
            break
    await old.log.sequencer.run_once()
    assert (await old.problems(), len(await old.told())) == (set(), 1)
    await old.prune()
    report = await old.log.verify()
    assert (report.problems, report.pruned, len(await old.told())) == ((), 512, 1)


async def test_the_export_of_a_pruned_log_with_cosignatures_verifies(old: Old, tmp_path: Path) -> None:
    """Cosignatures of what is not exported are left out, since their checkpoints are."""
    await old.log.grow(300, 300)
    await archive(old.log, old.storage)
    key = CosigningKey.generate("witness.example.com/w", COSIGNATURE_ED25519)
    async with old.store.write() as tx:
        for row in (await tx.execute(select(ledger_checkpoint.c.size, ledger_checkpoint.c.body))).all():
            line = key.cosign(Note.from_text(row.body).text, 1_767_225_600)
            await cosigned.put(tx, row.size, key.public, line, old.clock.now())
    old.later(400)
    await old.prune()
    vkey, directory = old.log.key.verifier.vkey, tmp_path / "export"
    await export(old.log.reader, directory, vkey)
    assert verify_export(directory, vkey).problems == ()
    assert [each.size for each in exported_cosigned(directory)] == [600, 601]
