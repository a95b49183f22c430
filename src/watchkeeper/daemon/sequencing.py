"""When the sequencer looks: soon after this process appended, now and then for what others appended.

A look costs a transaction, and an idle daemon is to cost next to nothing. It knows what was appended, not what was
committed: it goes on looking for a while, and what is committed later still is found by the slow looks.
"""

from __future__ import annotations

import math

from watchkeeper.core.clock import Clock
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.sequencer import Sequencer

SEQUENCE_S = 0.25
"""How often `turn` is to be called."""
OTHERS_S = 0.5
"""The pause between two looks while this process appends nothing."""
LINGER_S = 1.0
"""How long after an append its transaction is still waited for at the fast pace."""


class Sequencing:
    def __init__(self, sequencer: Sequencer, ledger: Ledger, clock: Clock) -> None:
        self._sequencer, self._ledger, self._clock = sequencer, ledger, clock
        self._appended, self._busy_until, self._next = 0, -math.inf, -math.inf

    async def turn(self) -> int:
        """Sequences what waits, if it is time to look; returns how many entries got their index."""
        now = self._clock.monotonic()
        if self._ledger.appended != self._appended:
            self._appended, self._busy_until = self._ledger.appended, now + LINGER_S
        if self._busy_until <= now < self._next:
            return 0
        self._next = now + OTHERS_S
        return await self._sequencer.run_turn()
