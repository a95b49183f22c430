"""All witnesses of our log together: asked before anything is signed, vouching for a return to trust, and reported.

Each is asked to cosign in a turn of its own (`WitnessClient.turn`); acting stops (invariant 11) while one of them
remembers another log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from watchkeeper.agents.outbox import Notice, Outbox
from watchkeeper.core.clock import Clock
from watchkeeper.core.ids import IncidentId
from watchkeeper.daemon.witnessclient import Book, WitnessClient
from watchkeeper.ledger.cosigning import cosigned
from watchkeeper.ledger.cosigning.cosigned import WitnessReport
from watchkeeper.ledger.cosigning.quorum import Policy
from watchkeeper.ledger.signing.checkpoint import Checkpoint
from watchkeeper.ledger.signing.note import Note
from watchkeeper.store.engine import Store

EVERY_S = 3.0
LOOK_S = 5.0
"""How long a start waits for witnesses to say what they remember."""


@dataclass(frozen=True)
class Alarm:
    """Tells people, through the outbox, of a witness that refuses our proofs: its memory or ours is wrong, and it does
    not show which. Acting goes on."""

    store: Store
    outbox: Outbox
    clock: Clock
    environment: str

    async def __call__(self, witness: str) -> None:
        notice = Notice(
            incident=IncidentId("watchkeeper"),
            kind="witness_refuses",
            reason="consistency_proof_refused",
            service="watchkeeper",
            environment=self.environment,
            mode="self",
            subject=f"witness {witness}",
            at=self.clock.now(),
            commands=("watchkeeper ledger witness status", "watchkeeper ledger verify"),
        )
        async with self.store.write() as tx:
            await self.outbox.put(tx, notice)


class Witnesses:
    """All configured witnesses, and the policy that says how many of them are enough."""

    def __init__(self, clients: Sequence[WitnessClient], book: Book, policy: Policy | None) -> None:
        self.clients, self.policy, self._book = tuple(clients), policy, book

    async def look(self) -> None:
        """Before anything is signed: what do they remember? Who does not answer in time is passed over. Raises
        DisputedError."""
        waiting = [asyncio.ensure_future(client.ask(again=True)) for client in self.clients]
        if not waiting:
            return
        _, late = await asyncio.wait(waiting, timeout=LOOK_S)
        for each in late:
            each.cancel()
        for ended in await asyncio.gather(*waiting, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended

    async def vouch(self) -> None:
        """Asks all again, and raises DisputedError while one that spoke against our log has not agreed."""
        await self.look()
        for client in self.clients:
            if client.dispute is not None:
                raise client.dispute

    async def cosigned(self) -> str | None:
        """The newest checkpoint that the configured policy calls valid."""
        return None if self.policy is None else await self._book.log.cosigned(self.policy, self._book.keys)

    async def report(self) -> WitnessReport:
        valid = await self.cosigned()
        async with self._book.store.read() as tx:
            found = [(client, await cosigned.newest_of(tx, client.key.vkey)) for client in self.clients]
        return WitnessReport(
            size=await self._book.log.size(),
            quorum="no_policy" if self.policy is None else "not_met" if valid is None else "met",
            quorum_size=None if valid is None else Checkpoint.from_text(Note.from_text(valid).text).size,
            witnesses=tuple(client.state(size, at) for client, (size, at) in found),
        )
