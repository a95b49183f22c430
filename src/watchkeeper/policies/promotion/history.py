"""An agent's history: what people and events said of it, and its stops, as the ledger has them, sequenced or not.

It does not verify the entries: `watchkeeper ledger verify` does. What is older than the ledger's retention of other
entries stays: these kinds are kept.
"""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.agents import StandingChanged
from watchkeeper.core.entries import EntryType, StopRecorded
from watchkeeper.core.model import Contract, Instant
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.ledger.recorded import page
from watchkeeper.store.engine import Store

KINDS = (EntryType.AGENT_STANDING, EntryType.STOP)
MOST = 200


class Line(Contract):
    """One entry about an agent: a word or a stop. `number` goes on to older ones. `why`: what the person wrote; none,
    where nobody wrote anything, or where it was erased since."""

    number: int
    at: Instant
    word: StandingChanged | None = None
    stop: StopRecorded | None = None
    why: str | None = None


async def newest(tx: AsyncConnection, agent: str) -> int:
    """The number of the newest line; 0: there is none."""
    found = await page(tx, f"agent:{agent}", KINDS, limit=1)
    return found[0][0] if found else 0


async def lines(store: Store, evidence: Evidence, agent: str, limit: int, before: int | None = None) -> list[Line]:
    """The latest first; `before`: older than the one with this number."""
    async with store.read() as tx:
        found = await page(tx, f"agent:{agent}", KINDS, limit=min(limit, MOST), before=before)
    made = []
    for number, envelope in found:
        data = envelope.typed()
        word = data if isinstance(data, StandingChanged) else None
        stop = data if isinstance(data, StopRecorded) else None
        reason = word.reason if word is not None else stop.reason if stop is not None else None
        body = None if reason is None else await evidence.get(reason.commitment)
        why = None if body is None else body.decode(errors="replace")
        made.append(Line(number=number, at=envelope.time, word=word, stop=stop, why=why))
    return made
