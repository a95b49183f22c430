"""Whatever is changed in an archive is found by who has nothing but the key, and the report says where."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import update
from tests.testbed.archives import archive, checked
from tests.testbed.ledgers import ORIGIN, Log
from tests.testbed.stores import tampering

from watchkeeper.ledger.archive.check import ArchiveCheck, ArchiveCheckReport
from watchkeeper.ledger.archive.compare import check_with
from watchkeeper.ledger.archive.directory import DirectoryStorage
from watchkeeper.ledger.archive.files import Frontier, SegmentFiles, bundle, tile_name, unbundle
from watchkeeper.ledger.archive.manifest import Manifest
from watchkeeper.ledger.retention.progress import Progress
from watchkeeper.ledger.signing.keys import SigningKey
from watchkeeper.ledger.tables import ledger_entry
from watchkeeper.store.engine import Store

SIZES = (300, 400)


@pytest.fixture
async def log(store: Store, tmp_path: Path) -> Log:
    made = Log(store)
    await made.grow(*SIZES)
    await archive(made, DirectoryStorage(tmp_path / "archive"), 256)
    return made


@pytest.fixture
def place(tmp_path: Path, log: Log) -> Path:
    return tmp_path / "archive"


def found(log: Log, place: Path) -> set[tuple[str, str]]:
    report = checked(log, DirectoryStorage(place))
    assert report.ok is (not report.problems)
    return {(problem.where, problem.code.value) for problem in report.problems}


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.chmod(0o644)
    path.write_bytes(change(path.read_bytes()))


def flipped(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


def test_an_archive_as_it_should_be(log: Log, place: Path) -> None:
    report = checked(log, DirectoryStorage(place))
    assert (report.ok, report.end, report.segments) == (True, 512, 2)
    assert report.lines()[0] == "the archive holds"


def test_every_object_that_is_flipped_cut_or_gone_is_found(log: Log, place: Path, tmp_path: Path) -> None:
    """Each file of the archive in turn, in each of three ways."""
    names = sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())
    assert len(names) > 12
    for name in names:
        copy = tmp_path / "copy"
        for change in (flipped, lambda body: body[:-1], None):
            shutil.copytree(place, copy)
            if change is None:
                (copy / name).unlink()
            else:
                rewrite(copy / name, change)
            problems = found(log, copy)
            # an archive that lost its last manifest is as one that had not come further: the ledger knows better
            missed = change is None and name == "manifests/256.json"
            assert missed or any(where == name for where, _ in problems), (name, change, problems)
            shutil.rmtree(copy)


def test_an_entry_that_was_edited_with_its_manifest_is_found_by_the_root(log: Log, place: Path) -> None:
    """Bundle, tiles and manifest agree with each other, and not with what was signed."""

    def edited(data: bytes) -> bytes:
        bodies = unbundle(data)
        return bundle([bodies[0].replace(b'"reason":"test"', b'"reason":"tost"'), *bodies[1:]])

    rewrite(place / tile_name("entries", 0), edited)
    manifest = Manifest.from_bytes((place / "manifests/0.json").read_bytes())
    files = SegmentFiles(Frontier(), 0)
    for number in range(1):
        for file in files.bundle(unbundle((place / tile_name("entries", number)).read_bytes())):
            rewrite(place / file.name, lambda body, file=file: file.body)  # type: ignore[misc]
    forged = {each.name: each for each in files.objects}
    objects = tuple(forged.get(each.name, each) for each in manifest.objects)
    rewrite(place / "manifests/0.json", lambda body: manifest.model_copy(update={"objects": objects}).to_bytes())
    problems = found(log, place)
    assert ("checkpoints/300", "checkpoint_root") in problems
    assert ("manifests/256.json", "chain_broken") in problems


def test_another_key_opens_nothing(log: Log, place: Path) -> None:
    log.key = SigningKey.generate(ORIGIN)
    assert ("checkpoints/300", "bad_checkpoint") in found(log, place)
    log.key = SigningKey.generate("another.example.com/log")
    assert found(log, place) == {("manifests/0.json", "bad_manifest")}


def test_an_empty_place_is_no_archive(log: Log, tmp_path: Path) -> None:
    assert found(log, tmp_path / "nothing") == {("manifests/0.json", "missing_object")}


async def compared(log: Log, place: Path) -> tuple[list[Progress], ArchiveCheckReport]:
    storage = DirectoryStorage(place)
    check = ArchiveCheck(storage, [log.key.verifier])
    *steps, report = [each async for each in check_with(log.store, check, storage.place)]
    assert isinstance(report, ArchiveCheckReport)
    return [each for each in steps if isinstance(each, Progress)], report


async def test_the_archive_and_the_database_are_one_log(log: Log, place: Path) -> None:
    steps, report = await compared(log, place)
    assert (report.ok, report.compared) == (True, 512)
    assert [each.done for each in steps] == [256, 512]
    async with tampering(log.store) as tx:
        await tx.execute(update(ledger_entry).where(ledger_entry.c.idx == 400).values(leaf=bytes(32)))
    _, report = await compared(log, place)
    assert [(each.where, each.code) for each in report.problems] == [("entry 400", "leaf_differs")]


async def test_an_archive_that_lost_its_end_is_found_by_the_ledger(log: Log, place: Path) -> None:
    (place / "manifests/256.json").unlink()
    _, report = await compared(log, place)
    assert [(each.where, each.code) for each in report.problems] == [("manifests/256.json", "missing_object")]


async def test_a_manifest_that_is_not_the_recorded_one_is_found(log: Log, place: Path) -> None:
    manifest = Manifest.from_bytes((place / "manifests/256.json").read_bytes())
    again = manifest.model_copy(update={"objects": manifest.objects[::-1]})
    rewrite(place / "manifests/256.json", lambda body: again.to_bytes())
    _, report = await compared(log, place)
    assert ("manifests/256.json", "not_recorded") in {(each.where, each.code.value) for each in report.problems}
