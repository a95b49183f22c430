"""A C2SP witness: cosigns a log's checkpoints, each only if it extends the one before.

Checking, storing and signing are one transaction of a small SQLite file of its own, so that two requests, two processes
on one directory, or a kill between the store and the reply never make it cosign a smaller or another tree. It needs no
Watchkeeper database and no settings. It does not see entries, and it cannot know whether a log shows others another
tree: that is why a quorum asks several witnesses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import Column, LargeBinary, MetaData, String, Table, Text, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import ConfigError, VerificationError
from watchkeeper.ledger.cosigning.addcheckpoint import AddCheckpoint
from watchkeeper.ledger.cosigning.cosignature import COSIGNATURE_ED25519, COSIGNATURE_ML_DSA_44, CosigningKey
from watchkeeper.ledger.signing.checkpoint import Checkpoint, open_checkpoint
from watchkeeper.ledger.signing.keyfile import create_private, read_private
from watchkeeper.ledger.signing.note import Note, SignatureLine, VerifierKey
from watchkeeper.ledger.tree.merkle import EMPTY_ROOT, verify_consistency
from watchkeeper.store.engine import Store
from watchkeeper.store.metadata import BigId

KEY_FILE, BOOK_FILE = "witness.key", "witness.db"
MAX_LOGS = 10_000
_WHAT = "the witness's key"

_METADATA = MetaData()
_latest = Table(
    "latest",
    _METADATA,
    Column("origin", String, primary_key=True),
    Column("size", BigId, nullable=False),
    Column("root", LargeBinary(32), nullable=False),
    Column("note", Text, nullable=False),
    Column("at", BigId, nullable=False),
)
"""One row for each log: the newest checkpoint that was cosigned, whole, and when, in seconds since 1970."""

Logs = Mapping[str, tuple[VerifierKey, ...]]
"""Origin → the keys that its log signs with; several while one takes over from another."""


@dataclass(frozen=True)
class Seen:
    """The newest tree that was cosigned."""

    size: int
    root: bytes


NOTHING = Seen(0, EMPTY_ROOT)


@dataclass(frozen=True)
class Refusal:
    """Why a checkpoint is not cosigned: the status of the protocol, and the size to go on from where it asks for it."""

    status: int
    why: str
    size: int | None = None


def logs_of(keys: Iterable[VerifierKey]) -> Logs:
    """The keys by their log."""
    found: dict[str, tuple[VerifierKey, ...]] = {}
    for key in dict.fromkeys(keys):
        found[key.name] = (*found.get(key.name, ()), key)
    if not found or len(found) > MAX_LOGS:
        raise ConfigError(
            "a witness watches over at least one log" if not found else f"more than {MAX_LOGS} logs",
            cause="no verifier key of a log was given" if not found else "there are too many for one witness",
            next_step="give --log VKEY, from the log's owner: watchkeeper ledger key",
        )
    return found


def recognise(request: AddCheckpoint, logs: Logs) -> Checkpoint | Refusal:
    """The checkpoint, if a known log signed it and the request makes sense."""
    try:
        claimed = Checkpoint.from_text(request.note.text)
    except VerificationError as error:
        return Refusal(400, error.what)
    if claimed.origin not in logs:
        return Refusal(404, "this log is not known here")
    try:
        checkpoint = open_checkpoint(request.note.to_text(), logs[claimed.origin])
    except VerificationError as error:
        return Refusal(403, error.what)
    if request.old > checkpoint.size:
        return Refusal(400, "the old size is greater than the checkpoint's")
    return checkpoint


def judge(request: AddCheckpoint, checkpoint: Checkpoint, seen: Seen) -> Refusal | None:
    """Whether the checkpoint goes on from what was seen; None: it does."""
    if request.old != seen.size:
        return Refusal(409, "another size was cosigned last", seen.size)
    if checkpoint.size == seen.size and checkpoint.root != seen.root:
        return Refusal(409, "another tree of this size was cosigned", seen.size)
    if not verify_consistency(seen.size, checkpoint.size, seen.root, checkpoint.root, request.proof):
        return Refusal(422, "the proof does not show that the tree extends the one that was cosigned last")
    return None


class Witness:
    """`keys` all cosign: one line each. Several processes may work on one directory."""

    def __init__(self, directory: Path, keys: tuple[CosigningKey, ...], logs: Logs, clock: Clock) -> None:
        self._store = Store(f"sqlite+aiosqlite:///{directory.absolute() / BOOK_FILE}")
        self._keys, self._logs, self._clock = keys, logs, clock
        self._origins = {hashlib.sha256(origin.encode()).hexdigest(): origin for origin in logs}

    async def open(self) -> None:
        async with self._store.write() as tx:
            await tx.run_sync(_METADATA.create_all)

    async def close(self) -> None:
        await self._store.close()

    async def add(self, request: AddCheckpoint) -> str | Refusal:
        """The cosignature lines, durable before they are returned. Raises StoreError."""
        checkpoint = recognise(request, self._logs)
        if isinstance(checkpoint, Refusal):
            return checkpoint
        async with self._store.write() as tx:
            refusal = judge(request, checkpoint, await _seen(tx, checkpoint.origin))
            return refusal or await self._cosign(tx, request.note, checkpoint)

    async def _cosign(self, tx: AsyncConnection, note: Note, checkpoint: Checkpoint) -> str | Refusal:
        at = int(self._clock.now().timestamp())
        last: int | None = (await tx.execute(select(func.max(_latest.c.at)))).scalar_one()
        if last is not None and at < last:
            return Refusal(503, "the witness's clock is behind its last cosignature")
        lines = tuple(key.cosign(note.text, at) for key in self._keys)
        cosigned = Note(note.text, (*self._signed_by_log(note, checkpoint.origin), *lines))
        row = {"size": checkpoint.size, "root": checkpoint.root, "note": cosigned.to_text(), "at": at}
        put = insert(_latest).values(origin=checkpoint.origin, **row)
        await tx.execute(put.on_conflict_do_update(index_elements=["origin"], set_=row))
        return "".join(line.to_text() for line in lines)

    def _signed_by_log(self, note: Note, origin: str) -> Iterable[SignatureLine]:
        known = {(key.name, key.key_id) for key in self._logs[origin]}
        return (line for line in note.signatures if (line.name, line.key_id) in known)

    async def newest(self, digest: str) -> str | None:
        """The newest checkpoint that was cosigned for the log whose origin has this SHA-256 (hex)."""
        origin = self._origins.get(digest)
        if origin is None:
            return None
        async with self._store.read() as tx:
            query = select(_latest.c.note).where(_latest.c.origin == origin)
            note: str | None = (await tx.execute(query)).scalar_one_or_none()
        return note


async def _seen(tx: AsyncConnection, origin: str) -> Seen:
    row = (await tx.execute(select(_latest.c.size, _latest.c.root).where(_latest.c.origin == origin))).one_or_none()
    return NOTHING if row is None else Seen(row.size, row.root)


def make_keys(directory: Path, name: str, *, post_quantum: bool) -> tuple[CosigningKey, ...]:
    """New keys in a new file. Raises ConfigError if there is one: a witness keeps its key."""
    kinds = (COSIGNATURE_ED25519, COSIGNATURE_ML_DSA_44) if post_quantum else (COSIGNATURE_ED25519,)
    keys = tuple(CosigningKey.generate(name, kind) for kind in kinds)
    _make(directory)
    text = "\n".join(key.to_secret().get_secret_value() for key in keys)
    create_private(directory / KEY_FILE, SecretStr(text), _WHAT, f"watchkeeper witness key --data {directory}")
    return keys


def load_keys(directory: Path) -> tuple[CosigningKey, ...]:
    """One key a line. Raises ConfigError for a missing or exposed file."""
    next_step = f"watchkeeper witness keygen --data {directory} --name NAME"
    text = read_private(directory / KEY_FILE, _WHAT, next_step).get_secret_value()
    return tuple(CosigningKey.from_secret(SecretStr(line)) for line in text.splitlines() if line.strip())


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(
            f"cannot make the witness's directory: {error.strerror}",
            place=str(directory),
            cause="the path is a file's, or not this user's to write",
            next_step="give another --data",
        ) from error
