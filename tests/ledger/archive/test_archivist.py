"""Signed entries get into the archive whole, once, in files that anybody can check, and the ledger says so."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update
from tests.testbed.archives import Tapped, archive, archivist, checked, told
from tests.testbed.largelog import grown
from tests.testbed.ledgers import ORIGIN, Log
from tests.testbed.s3 import S3Server
from tests.testbed.stores import tampering

from watchkeeper.core.errors import ConflictError, LedgerError, UnavailableError, VerificationError
from watchkeeper.ledger.archive.archivist import ArchiveReport
from watchkeeper.ledger.archive.config import LockSettings
from watchkeeper.ledger.archive.directory import DirectoryStorage
from watchkeeper.ledger.archive.manifest import Manifest
from watchkeeper.ledger.archive.s3 import S3Storage
from watchkeeper.ledger.retention.progress import Progress
from watchkeeper.ledger.signing.note import b64
from watchkeeper.ledger.tables import ledger_checkpoint, ledger_staged
from watchkeeper.ledger.tree.merkle import Tree
from watchkeeper.store.engine import Store


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "archive"


def files(directory: Path) -> dict[str, bytes]:
    found = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}


async def test_whole_bundles_that_are_signed_are_archived_and_told(store: Store, place: Path) -> None:
    log, storage = Log(store), DirectoryStorage(place)
    await log.grow(300, 400, 70)
    report = await archive(log, storage)
    assert report == ArchiveReport(place=str(place), first=0, end=768, segments=2, objects=16)
    first, second = await told(log)
    assert [(each.first, each.end, each.size, each.place) for each in (first, second)] == [
        (0, 512, 700, str(place)),
        (512, 768, 770, str(place)),
    ]
    assert (checked(log, storage).ok, checked(log, storage).end) == (True, 768)
    assert (await log.verify()).ok


async def test_the_files_are_tlog_tiles_and_the_manifests_chain(store: Store, place: Path) -> None:
    """Read here with nothing of the archive's own code."""
    log = Log(store)
    await log.grow(256, 300)
    await archive(log, DirectoryStorage(place))
    there = files(place)
    key = log.key.verifier
    assert there.keys() == {
        *("tile/entries/000", "tile/0/000", "tile/entries/001", "tile/0/001"),
        *("tile/0/002.p/44", "tile/1/000.p/2", "checkpoints/556", f"vkeys/{key.key_id.hex()}", "manifests/0.json"),
    }
    bodies, at = [], 0
    data = there["tile/entries/000"] + there["tile/entries/001"]
    while at < len(data):
        length = int.from_bytes(data[at : at + 2], "big")
        bodies.append(data[at + 2 : at + 2 + length])
        at += 2 + length
    assert [json.loads(body)["wkseq"] for body in bodies] == list(range(1, 513))
    leaves = [hashlib.sha256(b"\x00" + body).digest() for body in bodies]
    assert b"".join(leaves) == there["tile/0/000"] + there["tile/0/001"]
    edge = there["tile/0/002.p/44"]
    tree = Tree()
    tiles = tree.extend([*leaves, *(edge[at : at + 32] for at in range(0, len(edge), 32))])
    assert b"".join(tile.root for tile in tiles) == there["tile/1/000.p/2"]
    assert there["checkpoints/556"].decode().split("\n")[:3] == [ORIGIN, "556", b64(tree.root())]
    assert there[f"vkeys/{key.key_id.hex()}"].decode() == f"{key.vkey}\n"
    manifest = json.loads(there["manifests/0.json"])
    assert (manifest["first"], manifest["end"], manifest["size"], manifest["previous"]) == (0, 512, 556, None)
    for listed in manifest["objects"]:
        body = there[listed["name"]]
        assert (listed["digest"], listed["size"]) == ("sha256:" + hashlib.sha256(body).hexdigest(), len(body))
    await log.grow(600)
    await archive(log, DirectoryStorage(place))
    following = json.loads(files(place)["manifests/512.json"])
    assert following["previous"] == "sha256:" + hashlib.sha256(there["manifests/0.json"]).hexdigest()
    assert next(each.digest for each in await told(log)) == following["previous"]


async def test_less_than_a_bundle_waits(store: Store, place: Path) -> None:
    log, storage = Log(store), DirectoryStorage(place)
    await log.grow(255)
    assert (await archive(log, storage)).segments == 0
    assert (files(place), await told(log)) == ({}, [])
    await log.grow(1)
    assert (await archive(log, storage)).end == 256
    assert (await archive(log, storage)).segments == 0


async def test_a_batch_longer_than_a_segment_is_one_segment(store: Store, place: Path) -> None:
    log = Log(store)
    await log.grow(1300)
    assert (await archive(log, DirectoryStorage(place), span=256)).segments == 1
    assert checked(log, DirectoryStorage(place)).end == 1280


async def test_upper_tiles_are_there_over_segments(store: Store, place: Path) -> None:
    """The first full tile of the second level comes after 65,536 entries."""
    log = Log(store)
    await grown(log, 256 * 256 + 300)
    report = await archive(log, DirectoryStorage(place), span=256 * 200)
    assert (report.segments, report.end) == (2, 256 * 257)
    assert {"tile/1/000", "tile/2/000.p/1", "tile/1/001.p/1"} <= files(place).keys()
    assert checked(log, DirectoryStorage(place)).ok


async def test_stopped_at_any_call_it_goes_on_and_writes_nothing_twice(store: Store, place: Path) -> None:
    log = Log(store)
    await log.grow(300, 300)
    written: Counter[str] = Counter()
    stop = calls = 0

    def tap(what: str, name: str) -> None:
        nonlocal calls
        calls += 1
        written[name] += what == "wrote"
        if calls == stop:
            raise UnavailableError("cut off here")

    while True:
        stop, calls = stop + 1, 0
        try:
            await archivist(log, Tapped(DirectoryStorage(place), tap)).run_once()
            break
        except UnavailableError:
            assert await told(log) == []
    await log.sequencer.run_once()
    assert stop > 3
    assert set(written.values()) <= {0, 1}
    assert [each.end for each in await told(log)] == [512]
    assert (checked(log, DirectoryStorage(place)).ok, (await log.verify()).ok) == (True, True)


async def test_a_segment_that_was_begun_is_kept_to_though_the_log_has_grown(store: Store, place: Path) -> None:
    log, storage = Log(store), DirectoryStorage(place)
    await log.grow(300)

    def tap(what: str, name: str) -> None:
        if (what, name) == ("wrote", "manifests/0.json"):
            raise UnavailableError("cut off here")

    with pytest.raises(UnavailableError):
        await archivist(log, Tapped(storage, tap)).run_once()
    await log.grow(300)
    report = await archive(log, storage)
    assert (report.segments, report.end) == (2, 512)
    assert [(each.first, each.size) for each in await told(log)] == [(0, 300), (256, 600)]
    assert checked(log, storage).ok


async def test_a_log_that_was_changed_is_not_archived(store: Store, place: Path) -> None:
    log = Log(store)
    await log.grow(300)
    async with tampering(store) as tx:
        await tx.execute(update(ledger_staged).where(ledger_staged.c.seq == 7).values(body=b"{}"))
    with pytest.raises(VerificationError) as refused:
        await archive(log, DirectoryStorage(place))
    assert refused.value.place == "bundle 0"
    assert await told(log) == []


async def test_a_root_that_is_not_signed_is_not_archived(store: Store, place: Path) -> None:
    log = Log(store)
    await log.grow(300, 300)
    async with tampering(store) as tx:
        older = (await tx.execute(select(ledger_checkpoint.c.body).where(ledger_checkpoint.c.size == 300))).scalar_one()
        await tx.execute(update(ledger_checkpoint).where(ledger_checkpoint.c.size == 600).values(body=older))
    with pytest.raises(VerificationError, match="not what was signed"):
        await archive(log, DirectoryStorage(place))
    assert await told(log) == []


async def test_a_place_that_holds_another_log_is_refused(store: Store, place: Path) -> None:
    log, storage = Log(store), DirectoryStorage(place)
    storage.prepare()
    storage.put("tile/entries/000", b"of another log", "", None)
    await log.grow(300)
    with pytest.raises(VerificationError, match="not what was written") as refused:
        await archive(log, storage)
    assert refused.value.place.endswith("tile/entries/000")
    assert "prefix or directory of its own" in refused.value.next_step


async def test_two_at_once_are_one(store: Store, place: Path) -> None:
    log = Log(store)
    await log.grow(300)
    one = archivist(log, DirectoryStorage(place))
    running = one.run()
    assert isinstance(await anext(running), Progress)
    with pytest.raises(ConflictError, match="another archive"):
        await one.run_once()
    with pytest.raises(ConflictError, match="another archive"):
        await archivist(log, DirectoryStorage(place), holder="two").run_once()
    assert [each async for each in running][-1:] == [
        ArchiveReport(place=str(place), first=0, end=256, segments=1, objects=7)
    ]
    await archivist(log, DirectoryStorage(place), holder="two").run_once()


async def test_pruned_entries_move_to_another_archive_only_with_the_first(store: Store, place: Path) -> None:
    log, first = Log(store), DirectoryStorage(place / "one")
    await log.grow(300)
    await archive(log, first)
    async with tampering(store) as tx:
        await tx.execute(delete(ledger_staged).where(ledger_staged.c.seq <= 200))
    second = DirectoryStorage(place / "two")
    with pytest.raises(LedgerError, match="are pruned, and not in this archive"):
        await archive(log, second)
    for name, body in files(place / "one").items():
        second.put(name, body, "", None)
    assert (await archive(log, second)).end == 256
    assert checked(log, second).ok


async def test_what_is_archived_in_s3_is_locked_and_says_until_when(store: Store, s3: S3Server) -> None:
    log = Log(store)
    await log.grow(300)
    bucket = s3.bucket()
    storage = S3Storage(s3.settings(bucket, LockSettings(retain="10y")))
    report = await archive(log, storage)
    (said,) = await told(log)
    assert said.locked_until == report.locked_until == storage.locked_until(log.clock.now())
    assert (said.place, checked(log, storage).ok) == (f"s3://{bucket}/logs/one/", True)
    stored = storage.get("manifests/0.json")
    assert stored is not None
    assert Manifest.from_bytes(stored.body).digest == said.digest


async def test_a_copy_that_is_not_locked_is_refused_where_a_lock_is_asked_for(store: Store, s3: S3Server) -> None:
    log = Log(store)
    await log.grow(300)
    bucket = s3.bucket()
    S3Storage(s3.settings(bucket)).put("tile/0/000", (await leaves(log)), "", None)
    with pytest.raises(VerificationError, match="is not locked"):
        await archive(log, S3Storage(s3.settings(bucket, LockSettings())))
    assert await told(log) == []


async def leaves(log: Log) -> bytes:
    return b"".join([bytes.fromhex(entry.leaf) for entry in await log.reader.entries(0, 256)])
