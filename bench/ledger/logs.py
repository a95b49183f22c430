"""A log of any size on SQLite, made for checking: written by the real writer and the real sequencer."""

from __future__ import annotations

import time
from pathlib import Path

from bench.ledger.load import ORIGIN, destroyed, drafts, groups
from bench.ledger.writers import append_all
from watchkeeper.core.clock import SystemClock
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.sequencer import MAX_BATCH, Sequencer
from watchkeeper.ledger.signing.keys import SigningKey
from watchkeeper.store import schema
from watchkeeper.store.engine import Store


class Made:
    """A log that can be made longer; `vkey` opens it."""

    def __init__(self, directory: Path) -> None:
        self.url = f"sqlite+aiosqlite:///{directory / 'ledger.db'}"
        self._key = SigningKey.generate(ORIGIN)
        self.vkey = self._key.verifier.vkey
        self.size = 0

    async def grow(self, size: int) -> float:
        """Up to so many entries, from eight writers in turn; a checkpoint for every 5,000. Returns entries a second."""
        store, clock, before = Store(self.url), SystemClock(), self.size
        try:
            await schema.upgrade(store)
            ledgers = [Ledger(store, clock, source=ORIGIN, writer=f"writer-{n}") for n in range(8)]
            began = time.perf_counter()
            if not self.size:
                await append_all(store, ledgers[0], [[destroyed(drafts(1, 500))]])
                self.size = 1
            sequencer = Sequencer(store, clock, self._key, ORIGIN)
            while self.size < size:
                part = min(MAX_BATCH, size - self.size)
                for ledger, group in zip(ledgers, groups(drafts(1, part), max(1, -(-part // 8))), strict=False):
                    await append_all(store, ledger, [group])
                await sequencer.run_turn()
                self.size += part
            await sequencer.release()
            return (self.size - before) / (time.perf_counter() - began)
        finally:
            await store.close()
