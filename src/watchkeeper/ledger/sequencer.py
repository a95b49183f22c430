"""Gives staged entries their index, extends the tree, signs the checkpoint: one holder, one transaction, all or none.

The head never moves without a checkpoint of the same size, so there is no half-done state to recover from: after a
crash the next run starts from the last committed checkpoint like every other run. It checks that checkpoint's
signature and root before it extends it, so that a head altered in the database is refused, not signed. Where the
checkpoint is the previous key's, the batch hands the log over (handover.py): entry, index and both signatures at once.
It does not look at entries that already have an index: that is for verify.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from sqlalchemy import insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import ConflictError, LedgerError
from watchkeeper.core.ids import new_id
from watchkeeper.ledger import staging
from watchkeeper.ledger.signing.checkpoint import Checkpoint, sign_checkpoint
from watchkeeper.ledger.signing.handover import Signers
from watchkeeper.ledger.signing.keychain import rotation_in
from watchkeeper.ledger.signing.keys import SigningKey
from watchkeeper.ledger.tables import (
    ledger_checkpoint,
    ledger_head,
    ledger_pending,
    ledger_tile,
)
from watchkeeper.ledger.tree.merkle import Tree, leaf_hash
from watchkeeper.store import leases
from watchkeeper.store.engine import Store
from watchkeeper.store.leases import Lease
from watchkeeper.store.raw import RawQuery

LEASE = "ledger-sequencer"
LEASE_S = 15.0
MAX_BATCH = 5000
TURN_BATCHES = 20
"""How many full batches one turn takes before others get their turn."""
_ANY_PENDING = RawQuery(select(ledger_pending.c.id).limit(1))
"""Asked four times a second for as long as the daemon lives."""
STEP = timedelta(seconds=2)
"""A leap second or NTP's last step back is waited out; nothing is signed with a time before the last."""


class Sequencer:
    """One per process; of several, the lease lets one work."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        signer: SigningKey,
        origin: str,
        *,
        previous: SigningKey | None = None,
        holder: str = "",
        batch: int = MAX_BATCH,
    ) -> None:
        self._store, self._clock, self._origin = store, clock, origin
        self._signers = Signers(store, clock, origin, signer, previous)
        self._holder = holder or new_id("seq", clock.now())
        self._batch_size = min(batch, MAX_BATCH)
        self._turn = asyncio.Lock()
        self._lease: Lease | None = None
        self._signed: Checkpoint | None = None

    async def run_once(self) -> int:
        """Sequences one batch; returns how many entries got their index. 0: nothing waits, or another process holds
        the lease. Raises LedgerError when the log or the clock cannot be trusted: acting must stop (invariant 11)."""
        async with self._store.read() as tx:
            if not await _ANY_PENDING.fetch(tx):
                return 0
        async with self._turn:
            return await self._batch()

    async def run_turn(self) -> int:
        """Sequences what waits, batch by batch, up to a bound: what the daemon calls again and again."""
        total = 0
        for _ in range(TURN_BATCHES):
            count = await self.run_once()
            total += count
            if count < self._batch_size:
                break
        return total

    async def _batch(self) -> int:
        held = await self._hold()
        if held is None:
            return 0
        try:
            async with self._store.write() as tx:
                await leases.check(tx, held)
                checkpoint, count = await self._extend(tx, held)
        except ConflictError:  # fenced out: the new holder goes on
            self._lease = None
            return 0
        except LedgerError:  # another replica may be able to sign: one with the new key, after a rotation
            await self._give_back()
            raise
        self._signed = checkpoint
        return count

    async def release(self) -> None:
        """Gives the lease back, so that another need not wait for its end."""
        async with self._turn:
            await self._give_back()

    async def _give_back(self) -> None:
        if self._lease is not None:
            async with self._store.write() as tx:
                await leases.release(tx, self._lease, self._clock.now())
            self._lease = None

    async def _hold(self) -> Lease | None:
        """Our lease, renewed in a transaction of its own when half its time has passed."""
        now = self._clock.now()
        if self._lease is None or self._lease.expires - now < timedelta(seconds=LEASE_S / 2):
            async with self._store.write() as tx:
                self._lease = await leases.acquire(tx, LEASE, self._holder, now, LEASE_S)
        return self._lease

    async def _extend(self, tx: AsyncConnection, held: Lease) -> tuple[Checkpoint | None, int]:
        tree, last_time = await self._head(tx, held)
        now = self._clock.now()
        if last_time is not None and now < last_time - STEP:
            raise LedgerError(
                "the wall clock went back behind the last checkpoint; nothing is signed",
                cause="the system clock was set back, or it ran ahead before",
                next_step="correct the clock (chronyc tracking): the ledger goes on once it has passed that time again",
            )
        last, due = await self._last_checkpoint(tx, tree)
        if last_time is not None and now < last_time:
            return last, 0
        rows = await self._take(tx)
        if not rows:
            return last, 0
        if due:
            rows.append(await self._signers.record(tx))
        first = tree.size
        leaves = [leaf_hash(body) for _, body in rows]
        tiles = tree.extend(leaves)
        await self._put(tx, first, [number for number, _ in rows], leaves)
        if tiles:
            await tx.execute(insert(ledger_tile), [{"level": t.level, "idx": t.number, "root": t.root} for t in tiles])
        checkpoint = Checkpoint(self._origin, tree.size, tree.root())
        signed = sign_checkpoint(checkpoint, *self._signers.keys(due))
        await tx.execute(insert(ledger_checkpoint).values(size=tree.size, body=signed, signed_at=now))
        await tx.execute(
            update(ledger_head).values(size=tree.size, peaks=tree.packed(), fence=held.token, last_time=now)
        )
        return checkpoint, len(rows)

    async def _head(self, tx: AsyncConnection, held: Lease) -> tuple[Tree, datetime | None]:
        """The tree as committed, its row locked. Raises ConflictError if a later holder has moved it."""
        query = select(ledger_head).with_for_update()
        row = (await tx.execute(query)).one_or_none()
        if row is None:
            start = {"one": 1, "size": 0, "peaks": b"", "fence": held.token, "last_time": None}
            insert_new = sqlite.insert if self._store.is_sqlite else postgresql.insert
            await tx.execute(insert_new(ledger_head).values(start).on_conflict_do_nothing(index_elements=["one"]))
            row = (await tx.execute(query)).one()
        if row.fence > held.token:
            raise ConflictError("the ledger's head was moved by a later holder of the lease")
        try:
            return Tree.load(row.size, row.peaks), row.last_time
        except ValueError as error:
            raise _untrusted(f"the head is not a tree: {error}") from error

    async def _last_checkpoint(self, tx: AsyncConnection, tree: Tree) -> tuple[Checkpoint | None, bool]:
        """What we extend: the newest checkpoint, ours by signature, with the head's size and root; and whether it is
        the previous key's, so that the next one hands the log over."""
        query = select(ledger_checkpoint.c.body).order_by(ledger_checkpoint.c.size.desc()).limit(1)
        body = (await tx.execute(query)).scalar_one_or_none()
        last, due = (None, False) if body is None else await self._signers.open(tx, body)
        size, root = (0, tree.root()) if last is None else (last.size, last.root)
        if size != tree.size or root != tree.root():
            raise _untrusted(f"the head (size {tree.size}) and the last checkpoint (size {size}) are not one tree")
        before = self._signed
        if before is not None and (tree.size < before.size or (tree.size == before.size and root != before.root)):
            raise _untrusted(f"the log was {before.size} entries long and is now another one of {tree.size}")
        return last, due

    async def _take(self, tx: AsyncConnection) -> list[tuple[int, bytes]]:
        """Takes pending ids off the list, oldest first; returns the staged rows. On PostgreSQL one statement chooses,
        deletes and reads, so that an id that becomes visible meanwhile stays for the next batch."""
        take = staging.take_sqlite if self._store.is_sqlite else staging.take_postgresql
        rows = await take(tx, self._batch_size)
        found = [(number, body) for number, body in rows if body is not None]
        if len(found) != len(rows):
            raise _untrusted(f"{len(rows) - len(found)} pending entries have no staged row")
        if any(rotation_in(0, body) is not None for _, body in found):
            raise _untrusted("a pending entry hands the log over to another key, and is not ours")
        return found

    async def _put(self, tx: AsyncConnection, first: int, ids: list[int], leaves: list[bytes]) -> None:
        put = staging.index_sqlite if self._store.is_sqlite else staging.index_postgresql
        await put(tx, first, ids, leaves)


def _untrusted(what: str) -> LedgerError:
    return LedgerError(
        f"{what}; nothing is signed",
        cause="the ledger's rows were changed outside Watchkeeper, or an old backup was restored",
        next_step="watchkeeper ledger verify",
    )
