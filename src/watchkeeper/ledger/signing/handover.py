"""Who signs the next checkpoint: the log's key, or, once, the previous key and it together.

Where the log stands is read from the log, never remembered: the newest checkpoint that only the previous key signed
means that the change is due. The sequencer writes the rotation's entry, gives it its index and signs the checkpoint
with both keys in one transaction, so that a crash leaves all of it or nothing. It does not make keys, nor keep them.
"""

from __future__ import annotations

import sys

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.clock import Clock
from watchkeeper.core.entries import Draft, EntryType, KeyRotated
from watchkeeper.core.errors import LedgerError, VerificationError
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.signing.checkpoint import Checkpoint, open_checkpoint
from watchkeeper.ledger.signing.keys import SigningKey, check_origin
from watchkeeper.ledger.signing.note import Note, VerifierKey
from watchkeeper.ledger.snapshot import rotations
from watchkeeper.ledger.tables import ledger_pending, ledger_staged
from watchkeeper.store.engine import Store

WRITER = "ledger-keys"
"""Only who holds the sequencer's lease writes under this name, so that no two processes do."""


class Signers:
    """The log's key and, while it may be needed, the key before it."""

    def __init__(
        self, store: Store, clock: Clock, origin: str, current: SigningKey, previous: SigningKey | None
    ) -> None:
        self._current = check_origin(current, origin)
        self._previous = None if previous is None else check_origin(previous, origin)
        # what waits must not keep the log from the key that signs it
        self._ledger = Ledger(store, clock, source=f"/{origin}", writer=WRITER, max_pending=sys.maxsize)

    def keys(self, due: bool) -> tuple[SigningKey, ...]:
        """Whose signatures the next checkpoint has."""
        return (self._previous, self._current) if due and self._previous is not None else (self._current,)

    async def open(self, tx: AsyncConnection, note: str) -> tuple[Checkpoint, bool]:
        """The newest checkpoint, and whether the next one is to hand the log over to our key. Raises LedgerError for
        one that we must not go on from."""
        current = self._current.verifier
        try:
            return await self._ours(tx, note, current), False
        except VerificationError as error:
            if self._previous is None:
                raise _not_ours(error, current) from error
        try:
            opened = await self._ours(tx, note, self._previous.verifier)
        except VerificationError as error:
            raise _not_ours(error, current) from error
        if any(current == link.previous for link in await rotations(tx)):
            raise _retired(current)
        return opened, True

    async def _ours(self, tx: AsyncConnection, note: str, key: VerifierKey) -> Checkpoint:
        """Opens it by this key. Two keys of the log on one checkpoint: only the one that it was handed to goes on."""
        opened = open_checkpoint(note, [key])
        lines = [line for line in Note.from_text(note).signatures if line.name == key.name]
        if any(line.key_id != key.key_id for line in lines):
            links = await rotations(tx)
            if not links or links[-1].following != key:
                raise _retired(key)
        return opened

    async def record(self, tx: AsyncConnection) -> tuple[int, bytes]:
        """Appends the rotation's entry in the sequencer's transaction; its staged id and its bytes."""
        if self._previous is None:
            raise ValueError("there is no previous key to hand the log over from")
        said = KeyRotated(previous=self._previous.verifier.vkey, following=self._current.verifier.vkey)
        (entry,) = await self._ledger.append(tx, Draft(type=EntryType.KEY_ROTATED, subject="", data=said))
        query = select(ledger_staged.c.id, ledger_staged.c.body).where(ledger_staged.c.entry_id == entry)
        row = (await tx.execute(query)).one()
        await tx.execute(delete(ledger_pending).where(ledger_pending.c.id == row.id))
        return row.id, row.body


def _not_ours(error: VerificationError, key: VerifierKey) -> LedgerError:
    return LedgerError(
        f"the last checkpoint does not hold: {error.what}; nothing is signed",
        cause=f"the signing key (id {key.key_id.hex()}) is not the log's and the key before it was not given with it, "
        "or the ledger's rows were changed outside Watchkeeper",
        next_step="to change the key give the old one too (ledger.previous_signing_key_file); otherwise take the log's "
        "own key back, and: watchkeeper ledger verify",
    )


def _retired(key: VerifierKey) -> LedgerError:
    return LedgerError(
        f"the log was handed over from key {key.key_id.hex()} to another one; nothing is signed",
        cause="this process was started with a key that is retired: by now another replica signs with a newer one",
        next_step="start it with the log's newest key; a retired key does not come back: watchkeeper ledger keygen",
    )
