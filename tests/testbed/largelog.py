"""A log of many entries, written straight into the tables: the sequencer's batches would take minutes."""

from __future__ import annotations

from sqlalchemy import insert

from tests.testbed.ledgers import Log
from watchkeeper.ledger.signing.checkpoint import Checkpoint, sign_checkpoint
from watchkeeper.ledger.tables import ledger_checkpoint, ledger_entry, ledger_head, ledger_staged, ledger_tile
from watchkeeper.ledger.tree.merkle import Tree, leaf_hash

BATCH = 20_000
AT_ONCE = 2_000
"""Rows of one statement: what it takes to prepare more of them, a server may take for idleness."""
IDS = 10_000_000
"""Out of the way of those that the database gives."""


async def grown(log: Log, count: int) -> None:
    """So many short entries, which are none to any reader, signed every 20,000."""
    tree, first = Tree(), 0
    while first < count:
        # made before the transaction begins, which may not stand idle for long
        numbers = range(first, min(first + BATCH, count))
        bodies = [b'{"n":%d}' % n for n in numbers]
        hashes = [leaf_hash(body) for body in bodies]
        tiles = tree.extend(hashes)
        same = {"writer": "w", "type": "t", "subject": "", "time": log.clock.now()}
        staged = [
            same | {"id": IDS + n, "entry_id": str(n), "seq": n + 1, "body": body}
            for n, body in zip(numbers, bodies, strict=True)
        ]
        entries = [{"idx": n, "staged_id": IDS + n, "leaf": leaf} for n, leaf in zip(numbers, hashes, strict=True)]
        note = sign_checkpoint(Checkpoint(log.key.name, tree.size, tree.root()), log.key)
        async with log.store.write() as tx:
            for start in range(0, len(staged), AT_ONCE):
                await tx.execute(insert(ledger_staged), staged[start : start + AT_ONCE])
            for start in range(0, len(entries), AT_ONCE):
                await tx.execute(insert(ledger_entry), entries[start : start + AT_ONCE])
            await tx.execute(insert(ledger_tile), [{"level": t.level, "idx": t.number, "root": t.root} for t in tiles])
            await tx.execute(insert(ledger_checkpoint).values(size=tree.size, body=note, signed_at=log.clock.now()))
        first = tree.size
    async with log.store.write() as tx:
        await tx.execute(
            insert(ledger_head).values(one=1, size=tree.size, peaks=tree.packed(), fence=0, last_time=None)
        )
