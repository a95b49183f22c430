"""An archive of a log whose key was rotated: whoever trusts one of its keys can check all of it."""

from __future__ import annotations

from pathlib import Path

from tests.testbed.archives import archive
from tests.testbed.ledgers import ORIGIN, Log, draft

from watchkeeper.ledger.archive.check import ArchiveCheck, ArchiveCheckReport
from watchkeeper.ledger.archive.directory import DirectoryStorage
from watchkeeper.ledger.signing.keys import SigningKey
from watchkeeper.ledger.signing.note import VerifierKey
from watchkeeper.store.engine import Store


def checked_by(storage: DirectoryStorage, key: VerifierKey) -> ArchiveCheckReport:
    check = ArchiveCheck(storage, [key])
    for _ in check.walk():
        pass
    return check.report()


async def test_every_key_of_the_log_checks_the_whole_archive(store: Store, tmp_path: Path) -> None:
    log, storage = Log(store), DirectoryStorage(tmp_path / "archive")
    keys = [log.key.verifier]
    await log.grow(300)
    await archive(log, storage)
    for _ in range(2):
        await log.grow(10)
        await log.sequencer.release()
        log.rotate()
        keys.append(log.key.verifier)
        await log.append(draft())
        await log.sequencer.run_once()
        await log.grow(300)
        await archive(log, storage)
    for key in keys:
        report = checked_by(storage, key)
        assert (report.ok, report.end, report.segments) == (True, 768, 3), report.problems
    stranger = checked_by(storage, SigningKey.generate(ORIGIN).verifier)
    assert {problem.code.value for problem in stranger.problems} == {"bad_checkpoint"}


async def test_what_was_signed_before_a_rotation_is_archived_after_it(store: Store, tmp_path: Path) -> None:
    log, storage = Log(store), DirectoryStorage(tmp_path / "archive")
    await log.grow(300)
    await log.sequencer.release()
    log.rotate()
    await log.append(draft())
    await log.sequencer.run_once()
    await archive(log, storage)
    assert checked_by(storage, log.key.verifier).end == 256
