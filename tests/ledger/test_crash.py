"""kill -9 in the middle of appending, sequencing and signing: no gap, no fork, nothing acknowledged is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import update
from tests.testbed.ledgers import ORIGIN, Log, draft

from watchkeeper.core.clock import SystemClock
from watchkeeper.core.entries import EntryType
from watchkeeper.ledger.checks.verify import verify
from watchkeeper.ledger.signing.keys import create_key
from watchkeeper.store.engine import Store
from watchkeeper.store.tables import lease

ROOT = Path(__file__).parent.parent.parent
SEEDS = range(4)


def killed_writer(url: str, key_file: Path, seed: int, die_at: int, *previous: Path) -> set[str]:
    """Runs a writer until it kills itself; returns the entries that it was told are committed."""
    command = [sys.executable, "-m", "tests.testbed.ledgers", url, str(key_file), str(seed), str(die_at)]
    command += map(str, previous)
    env = {**os.environ, "PYTHONPATH": "src:."}
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    return {line.removeprefix("acked ") for line in ended.stdout.splitlines()}


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
async def test_kill_9_loses_nothing_acknowledged(store: Store, store_url: str, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    key = create_key(tmp_path / "ledger.key", ORIGIN)
    acked: set[str] = set()
    anchor: str | None = None
    for crash, die_at in enumerate((rng.randint(1, 40), rng.randint(40, 80), rng.randint(80, 160))):
        acked |= killed_writer(store_url, tmp_path / "ledger.key", seed * 10 + crash, die_at)
        async with store.write() as tx:  # do not wait for the dead holder's lease to end
            await tx.execute(update(lease).values(holder="", expires=SystemClock().now()))
        log = Log(store, SystemClock(), key)
        while await log.sequencer.run_once():
            pass
        await log.sequencer.release()
        report = await log.verify(anchor)
        assert (report.problems, report.pending) == ((), 0)
        anchor = await log.reader.checkpoint()
    known = [entry.envelope.id async for entry in log.reader.iterate()]
    assert acked
    assert acked <= set(known)
    assert len(known) == len(set(known))


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
async def test_kill_9_in_a_rotation_leaves_one_rotation(
    store: Store, store_url: str, tmp_path: Path, seed: int
) -> None:
    """Killed somewhere around the batch that hands the log over; whoever starts next finds where it stands."""
    old, new = (create_key(tmp_path / name, ORIGIN) for name in ("old", "new"))
    log = Log(store, SystemClock(), old)
    await log.grow(3)
    await log.sequencer.release()
    anchor = await log.checkpoint()
    acked = killed_writer(store_url, tmp_path / "new", seed, random.Random(seed).randint(5, 45), tmp_path / "old")
    async with store.write() as tx:
        await tx.execute(update(lease).values(holder="", expires=SystemClock().now()))
    log.rotate(new)
    await log.append(draft())
    while await log.sequencer.run_once():
        pass
    for key in (old, new):
        report = await verify(log.reader, key.verifier.vkey, anchor)
        assert (report.problems, report.rollback) == ((), "excluded")
    assert len(await log.reader.find(types=(EntryType.KEY_ROTATED,))) == 1
    assert acked <= {entry.envelope.id async for entry in log.reader.iterate()}
