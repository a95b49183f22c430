"""Asks witnesses to cosign the newest checkpoint, each in a turn of its own, and listens to what they remember.

A witness that is slow, down or talks nonsense holds up nobody: it is asked again with growing pauses. A witness that
has cosigned more of this log than there is, or another tree, says that the database is not the one we wrote: then
acting stops (`DisputedError`, invariant 11) until that witness agrees again. What it says of sizes alone is not signed,
so a witness can stop us wrongly; it can never make us act, and its name is told (docs/decisions/0017).
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import httpx
import structlog
from pydantic import Field, field_validator

from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import DisputedError, InputError, VerificationError
from watchkeeper.core.model import Contract
from watchkeeper.ledger import cosigned
from watchkeeper.ledger.addcheckpoint import SIZE_TYPE, AddCheckpoint, parse_size
from watchkeeper.ledger.checkpoint import Checkpoint, open_checkpoint
from watchkeeper.ledger.cosignature import CosignerKey
from watchkeeper.ledger.cosigned import WitnessReport, WitnessState
from watchkeeper.ledger.note import Note, SignatureLine, VerifierKey, b64_strict
from watchkeeper.ledger.quorum import Policy
from watchkeeper.ledger.reader import LogReader
from watchkeeper.store.engine import Store

log = structlog.get_logger(__name__)

EVERY_S = 3.0
LOOK_S = 5.0
"""How long a start waits for witnesses to say what they remember."""
MAX_REPLY_BYTES = 262_144
TRIES = 3
"""How often one turn takes a size from the witness and asks again."""
LONGEST_S = 300.0
NAME = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$"


class WitnessConfig(Contract):
    """A witness that cosigns our checkpoints (C2SP tlog-witness)."""

    name: str = Field(pattern=NAME)
    url: str = Field(pattern=r"^https?://[^/@\s]+(/\S*)?$")
    """Its submission prefix: `/add-checkpoint` is called under it. Without user or password: it is shown in logs."""
    vkey: str
    """Its verifier key, got from its owner: `watchkeeper witness key`."""
    timeout_s: float = Field(default=10.0, gt=0, le=60)

    @field_validator("url")
    @classmethod
    def _can_be_called(cls, value: str) -> str:
        try:
            httpx.URL(value)
        except (httpx.InvalidURL, ValueError):
            raise ValueError("not a URL: look at its port and its host name") from None
        return value.rstrip("/")

    @field_validator("vkey")
    @classmethod
    def _is_a_witness_s(cls, value: str) -> str:
        try:
            return CosignerKey.from_vkey(value).vkey
        except InputError as error:
            raise ValueError(f"{error.what}: {error.cause}") from None


@dataclass(frozen=True)
class Book:
    """What a witness's turns read and write."""

    store: Store
    log: LogReader
    keys: tuple[VerifierKey, ...]
    """The log's own: with them it knows its own signature in what a witness shows."""


@dataclass(frozen=True)
class _Reply:
    status: int
    media_type: str
    body: bytes


@dataclass(frozen=True)
class _Newest:
    note: Note
    checkpoint: Checkpoint


class NoAnswer(Exception):
    """The witness did not do as asked; the text is safe to log."""


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
                self.trouble, self.dispute, self._in_a_row = "", None, 0

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
            size = _size(reply)
            await self._hold_against_ours(size, old, newest)
            old = size
        raise NoAnswer("its size changes with every answer")

    async def _newest(self) -> _Newest | None:
        text = await self.book.log.checkpoint()
        if text is None:
            return None
        note = Note.from_text(text)
        return _Newest(note, Checkpoint.from_text(note.text))

    async def _submit(self, newest: _Newest, old: int) -> _Reply:
        proof = await self.book.log.consistency(old, newest.checkpoint.size)
        body = AddCheckpoint(old, tuple(map(b64_strict, proof.hashes)), newest.note).to_bytes()
        return await self._call("POST", "/add-checkpoint", body)

    async def _keep(self, newest: _Newest, body: bytes) -> None:
        """Stores the line of the key we know, once it is verified; other lines are not for us."""
        for line in _lines(body):
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

    async def _refused(self, reply: _Reply) -> None:
        """422: it has seen another tree, or it is no witness at all; what it shows to monitors tells which."""
        if reply.status == 422:
            await self._hold_shown_against_ours()
        raise NoAnswer(f"http_{reply.status}")

    async def _hold_shown_against_ours(self) -> None:
        digest = hashlib.sha256(self.book.keys[0].name.encode()).hexdigest()
        shown = await self._call("GET", f"/{digest}/checkpoint", None)
        try:
            seen = open_checkpoint(shown.body.decode(), self.book.keys)
        except (UnicodeDecodeError, VerificationError):
            return
        ours = await self.book.log.size()
        if seen.size > ours:
            raise _rolled_back(self.config.name, seen.size, ours)
        if seen.size and b64_strict((await self.book.log.inclusion(seen.size - 1, seen.size)).root) != seen.root:
            raise _forked(self.config.name, seen.size)

    async def _call(self, method: str, path: str, body: bytes | None) -> _Reply:
        """Within `timeout_s` in all, however slowly the answer drips, and never more than a bound of it."""
        try:
            async with (
                asyncio.timeout(self.config.timeout_s),
                self.http.stream(method, self.config.url + path, content=body, timeout=None) as reply,
            ):
                read = bytearray()
                async for piece in reply.aiter_bytes():
                    read += piece
                    if len(read) > MAX_REPLY_BYTES:
                        raise NoAnswer("its answer is too long")
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise NoAnswer(type(error).__name__) from None
        return _Reply(reply.status_code, reply.headers.get("content-type", "").partition(";")[0], bytes(read))

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


def _size(reply: _Reply) -> int:
    """The size that a 409 names. Raises NoAnswer for one that is not of this protocol."""
    try:
        if reply.media_type != SIZE_TYPE:
            raise ValueError
        return parse_size(reply.body.decode().removesuffix("\n"))
    except ValueError:
        raise NoAnswer("http_409 without a size") from None


def _lines(body: bytes) -> list[SignatureLine]:
    try:
        *lines, rest = body.decode().split("\n")
        if rest or not lines:
            raise ValueError
        return [SignatureLine.from_line(line) for line in lines]
    except ValueError:
        raise NoAnswer("its answer is not of signature lines") from None


def _rolled_back(witness: str, theirs: int, ours: int) -> DisputedError:
    return DisputedError(
        f"the witness {witness} has cosigned {theirs} entries of this log, and there are {ours}",
        cause="an older copy of the database was restored; or another installation uses this log's key and origin",
        next_step="restore the newer database, or start a new log: docs/ledger.md, A witness speaks against the log",
    )


def _forked(witness: str, size: int) -> DisputedError:
    return DisputedError(
        f"the witness {witness} has cosigned another tree of {size} entries of this log",
        cause="the database was restored from an older copy and written on, or its entries were changed",
        next_step="watchkeeper ledger verify, then docs/ledger.md, A witness speaks against the log",
    )
