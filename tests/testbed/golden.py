"""Writes the golden ledger files: `python -m tests.testbed.golden`.

Run once for a new kind of entry; it never changes a file that exists, because later versions must read what earlier
ones wrote. The exported log is written only when there is none.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.testbed.entries import T0, one_of_each
from tests.testbed.ledgers import ORIGIN, Log
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.entries import GENESIS_PREV, EntryType, Envelope
from watchkeeper.ledger.export import export
from watchkeeper.ledger.keys import SigningKey
from watchkeeper.store.engine import Store
from watchkeeper.store.metadata import METADATA
from watchkeeper.store.schema import register_tables

GOLDEN = Path(__file__).parent.parent / "ledger" / "golden"
LOG = GOLDEN / "log"


def golden_file(kind: EntryType) -> Path:
    return GOLDEN / f"{kind.removeprefix('dev.watchkeeper.')}.json"


def _envelope(number: int, kind: EntryType) -> Envelope:
    made = one_of_each()[kind]
    prev = GENESIS_PREV if number == 0 else hashlib.sha256(kind.encode()).hexdigest()
    return Envelope(
        id=f"ent_019b7c1d4e5f{number:016x}",
        source=f"{ORIGIN}/golden",
        type=kind,
        time=T0,
        subject=made.subject,
        wkseq=number + 1,
        wkprev=prev,
        data=made.data.model_dump(mode="json"),
    )


def write_entries() -> None:
    for number, kind in enumerate(one_of_each()):
        path = golden_file(kind)
        if not path.exists():
            path.write_bytes(_envelope(number, kind).to_bytes())


async def write_log() -> None:
    """A small log in several batches, long enough for a full tile."""
    register_tables()
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(f"sqlite+aiosqlite:///{scratch}/golden.db")
        async with store.write() as tx:
            await tx.run_sync(METADATA.create_all)
        key = SigningKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"golden").digest()))
        log = Log(store, ManualClock(T0), key)
        for _ in range(13):
            await log.append(*one_of_each().values())
            await log.sequencer.run_once()
        await export(log.reader, LOG, key.verifier.vkey)
        await store.close()


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    write_entries()
    if not LOG.exists():
        try:
            asyncio.run(write_log())
        except BaseException:
            shutil.rmtree(LOG, ignore_errors=True)
            raise
