"""One witness of our log: has it cosign the newest checkpoint, and listens to what it remembers.

A witness that is slow, down or talks nonsense holds up nobody: it is asked again with growing pauses. One that has
cosigned more of this log than there is, or another tree, says that the database is not the one we wrote:
`DisputedError`. What it says of sizes is not signed, so a witness can stop us wrongly; it can never make us act
(docs/decisions/0017).
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

import httpx
import structlog

from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import DisputedError, VerificationError
from watchkeeper.daemon.witnesswire import NoAnswer, Reply, WitnessConfig, call, lines_of, size_of
from watchkeeper.ledger.cosigning import cosigned
from watchkeeper.ledger.cosigning.addcheckpoint import AddCheckpoint
from watchkeeper.ledger.cosigning.cosignature import CosignerKey
from watchkeeper.ledger.cosigning.cosigned import WitnessState
from watchkeeper.ledger.reader import LogReader
from watchkeeper.ledger.signing.checkpoint import Checkpoint, open_checkpoint
from watchkeeper.ledger.signing.note import Note, VerifierKey, b64_strict
from watchkeeper.store.engine import Store

log = structlog.get_logger(__name__)

TRIES = 3
"""How often one turn takes a size from the witness and asks again."""
LONGEST_S = 300.0


@dataclass(frozen=True)
class Book:
    """What a witness's turns read and write."""

    store: Store
    log: LogReader
    keys: tuple[VerifierKey, ...]
    """The log's own: with them it knows its own signature in what a witness shows."""
    tell: Callable[[str], Awaitable[None]]
    """Tells people of a witness (by its name) that refuses our proofs and shows no reason."""


@dataclass(frozen=True)
class _Newest:
    note: Note
    checkpoint: Checkpoint


@dataclass
class WitnessClient:
    config: WitnessConfig
    book: Book
    http: httpx.AsyncClient
    clock: Clock
    dispute: DisputedError | None = None
    """Why we must not act, until this witness agrees again."""
    failures: int = 0
    disputes: int = 0
    trouble: str = ""
    _in_a_row: int = 0
    _told: bool = False
    _next_try: float = 0.0
    _alone: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.key = CosignerKey.from_vkey(self.config.vkey)

    async def turn(self) -> None:
        """Has the newest checkpoint cosigned, if it is not yet and a pause is over. Raises DisputedError."""
        if self.clock.monotonic() >= self._next_try:
            await self.ask(again=False)

    async def ask(self, *, again: bool) -> None:
        """At once; `again` also when it is cosigned already, to hear what the witness remembers."""
        async with self._alone:
            try:
                await self._catch_up(again)
            except NoAnswer as error:
                self._failed(str(error))
            except DisputedError as error:
                self._disputed(error)
                raise
            else:
                self.trouble, self.dispute, self._in_a_row, self._told = "", None, 0, False

    def state(self, size: int, at: datetime | None) -> WitnessState:
        return WitnessState(
            name=self.config.name,
            url=self.config.url,
            key=f"{self.key.name}+{self.key.key_id.hex()}",
            cosigned_size=size,
            cosigned_at=at,
            failures=self.failures,
            disputes=self.disputes,
            disputed=self.dispute is not None,
            trouble=self.trouble,
        )

    async def _catch_up(self, again: bool) -> None:
        newest = await self._newest()
        if newest is None:
            if again:  # the log is empty: was it always?
                await self._hold_shown_against_ours()
            return
        async with self.book.store.read() as tx:
            old, _ = await cosigned.newest_of(tx, self.key.vkey)
        if old >= newest.checkpoint.size and not again:
            return
        old = min(old, newest.checkpoint.size)
        for _ in range(TRIES):
            reply = await self._submit(newest, old)
            if reply.status == 200:
                await self._keep(newest, reply.body)
                return
            if reply.status != 409:
                await self._refused(reply)
            size = size_of(reply)
            await self._hold_against_ours(size, old, newest)
            old = size
        raise NoAnswer("its size changes with every answer")

    async def _newest(self) -> _Newest | None:
        text = await self.book.log.checkpoint()
        if text is None:
            return None
        note = Note.from_text(text)
        return _Newest(note, Checkpoint.from_text(note.text))

    async def _submit(self, newest: _Newest, old: int) -> Reply:
        proof = await self.book.log.consistency(old, newest.checkpoint.size)
        body = AddCheckpoint(old, tuple(map(b64_strict, proof.hashes)), newest.note).to_bytes()
        return await call(self.http, self.config, "POST", "/add-checkpoint", body)

    async def _keep(self, newest: _Newest, body: bytes) -> None:
        """Stores the line of the key we know, once it is verified; other lines are not for us."""
        for line in lines_of(body):
            if (line.name, line.key_id) != (self.key.name, self.key.key_id):
                continue
            if not self.key.verifies(newest.note.text, line.signature):
                raise NoAnswer("its cosignature does not verify")
            async with self.book.store.write() as tx:
                await cosigned.put(tx, newest.checkpoint.size, self.key, line, self.clock.now())
            return
        raise NoAnswer("no cosignature by its configured key in the answer")

    async def _hold_against_ours(self, size: int, old: int, newest: _Newest) -> None:
        """A 409 that an honest log can get names a size between, or one that another replica has just shown."""
        ours = await self.book.log.size()
        if size > ours:
            raise _rolled_back(self.config.name, size, ours)
        if size == old == newest.checkpoint.size:
            raise _forked(self.config.name, size)
        if size > newest.checkpoint.size:
            raise NoAnswer("another replica was faster")
        if size == old:
            raise NoAnswer("it asks for the size that it was given")

    async def _refused(self, reply: Reply) -> None:
        """422: it has seen another tree, or it is no witness at all; what it shows to monitors tells which."""
        if reply.status == 422:
            await self._hold_shown_against_ours()
            if not self._told:
                await self.book.tell(self.config.name)
                self._told = True
        raise NoAnswer(f"http_{reply.status}")

    async def _hold_shown_against_ours(self) -> None:
        digest = hashlib.sha256(self.book.keys[0].name.encode()).hexdigest()
        shown = await call(self.http, self.config, "GET", f"/{digest}/checkpoint")
        try:
            seen = open_checkpoint(shown.body.decode(), self.book.keys)
        except (UnicodeDecodeError, VerificationError):
            return
        ours = await self.book.log.size()
        if seen.size > ours:
            raise _rolled_back(self.config.name, seen.size, ours)
        if seen.size and b64_strict((await self.book.log.inclusion(seen.size - 1, seen.size)).root) != seen.root:
            raise _forked(self.config.name, seen.size)

    def _failed(self, why: str) -> None:
        self.failures += 1
        self._in_a_row += 1
        wait = min(LONGEST_S, 2.0 ** min(self._in_a_row, 9)) * random.uniform(0.8, 1.2)  # noqa: S311  # jitter
        self.trouble, self._next_try = why, self.clock.monotonic() + wait
        tell = log.error if self._in_a_row > 3 else log.warning
        tell("witness_does_not_cosign", witness=self.config.name, why=why, retry_in_s=round(wait, 1))

    def _disputed(self, error: DisputedError) -> None:
        self.disputes += 1
        self.trouble, self.dispute = error.what, error
        log.error("witness_disputes_the_log", witness=self.config.name, what=error.what, times=self.disputes)


def _rolled_back(witness: str, theirs: int, ours: int) -> DisputedError:
    return DisputedError(
        f"the witness {witness} has cosigned {theirs} entries of this log, and there are {ours}",
        cause="an older copy of the database was restored; or another installation uses this log's key and origin",
        next_step="restore the newer database, or start a new log: docs/witnesses.md, A witness speaks against the log",
    )


def _forked(witness: str, size: int) -> DisputedError:
    return DisputedError(
        f"the witness {witness} has cosigned another tree of {size} entries of this log",
        cause="the database was restored from an older copy and written on, or its entries were changed",
        next_step="watchkeeper ledger verify, then docs/witnesses.md, A witness speaks against the log",
    )
