"""kill -9 while archiving and while pruning: nothing is half done without its entry, and the next run ends it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, select, update
from tests.testbed.archives import archive, checked, told
from tests.testbed.ledgers import ORIGIN, Log

from watchkeeper.core.clock import ManualClock, SystemClock
from watchkeeper.core.entries import EntriesPruned, EntryType, EvidencePruned
from watchkeeper.core.evidence import EvidenceKind
from watchkeeper.ledger.archive.directory import DirectoryStorage
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.ledger.signing.keys import SigningKey, create_key
from watchkeeper.ledger.tables import evidence as table
from watchkeeper.ledger.tables import ledger_entry, ledger_pruned, ledger_staged
from watchkeeper.store.engine import Store
from watchkeeper.store.tables import lease

NEVER = 10**9
ROOT = Path(__file__).parent.parent.parent.parent


def killed(work: str, url: str, key: Path, place: Path, at: int) -> bool:
    """Runs it until it kills itself; whether it did."""
    command = [sys.executable, "-m", "tests.testbed.archives", work, url, str(key), str(place), str(at)]
    env = {**os.environ, "PYTHONPATH": "src:."}
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) in ((-signal.SIGKILL, ""), (0, "done\n")), ended.stderr
    return ended.returncode != 0


async def free_leases(store: Store) -> None:
    """Do not wait for the dead holder's to end."""
    async with store.write() as tx:
        await tx.execute(update(lease).values(holder="", expires=SystemClock().now()))


async def settled(log: Log) -> None:
    while await log.sequencer.run_once():
        pass
    await log.sequencer.release()


async def old_log(store: Store, key: SigningKey) -> Log:
    """600 entries and 250 pieces of evidence of long ago."""
    log = Log(store, ManualClock(), key)
    evidence = Evidence(store, clock=log.clock)
    async with store.write() as tx:
        for _ in range(250):
            await evidence.put(tx, EvidenceKind.PROMPT, b"a prompt")
    await log.grow(600)
    await log.sequencer.release()
    return Log(store, SystemClock(), key)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(1))
async def test_kill_9_while_archiving(store: Store, store_url: str, tmp_path: Path, seed: int) -> None:
    rng, place, key_file = random.Random(seed), tmp_path / "archive", tmp_path / "ledger.key"
    log = await old_log(store, create_key(key_file, ORIGIN))
    for at in (rng.randint(2, 6), rng.randint(5, 9), rng.randint(9, 13)):
        assert killed("archive", store_url, key_file, place, at)
        await free_leases(store)
        await settled(log)
        assert await told(log) == []
        assert (await log.verify()).ok
    assert not killed("archive", store_url, key_file, place, NEVER)
    await settled(log)
    assert [(each.first, each.end) for each in await told(log)] == [(0, 512)]
    assert checked(log, DirectoryStorage(place)).ok
    assert (await log.verify()).ok


async def counts(store: Store) -> tuple[int, int, int]:
    """How much evidence is left, how many entries have lost their bytes, and where the mark is."""
    joined = ledger_entry.outerjoin(ledger_staged, ledger_staged.c.id == ledger_entry.c.staged_id)
    gone = select(func.count()).select_from(joined).where(ledger_staged.c.id.is_(None))
    queries = (select(func.count()).select_from(table), gone, select(func.coalesce(func.max(ledger_pruned.c.end), 0)))
    async with store.read() as tx:
        left, lost, mark = [int((await tx.execute(query)).scalar_one()) for query in queries]
    return left, lost, mark


async def recorded(log: Log) -> tuple[int, int]:
    """How much evidence, and up to which entry, the log says was pruned."""
    count = end = 0
    async for entry in log.reader.iterate(types=(EntryType.EVIDENCE_PRUNED, EntryType.ENTRIES_PRUNED)):
        data = entry.envelope.typed()
        count += data.count if isinstance(data, EvidencePruned) else 0
        end = max(end, data.end) if isinstance(data, EntriesPruned) else end
    return count, end


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(2))
async def test_kill_9_while_pruning(store: Store, store_url: str, tmp_path: Path, seed: int) -> None:
    rng, place, key_file = random.Random(seed), tmp_path / "archive", tmp_path / "ledger.key"
    log = await old_log(store, create_key(key_file, ORIGIN))
    await archive(log, DirectoryStorage(place))
    await log.sequencer.release()
    for at in (rng.randint(20, 70), rng.randint(60, 110), rng.randint(100, 150)):
        killed("prune", store_url, key_file, place, at)
        await free_leases(store)
        await settled(log)
        left, lost, mark = await counts(store)
        assert await recorded(log) == (250 - left, mark)
        report = await log.verify()
        assert (report.problems, report.pruned) == ((), lost)
    assert not killed("prune", store_url, key_file, place, NEVER)
    await settled(log)
    assert await counts(store) == (0, 512, 512)
    assert (await recorded(log), (await log.verify()).ok) == ((250, 512), True)
