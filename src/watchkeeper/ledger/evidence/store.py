"""The evidence store: bodies that entries refer to by a salted commitment, redacted, compressed, bounded, erasable.

The commitment is over the redacted body. Once a body and its salt are gone, nothing can be tested against the
commitment, and the entry that holds it still verifies. It does not stop a caller from storing what it should not, and
copies of the database that were made before (backups, replicas) are not its to destroy.
"""

from __future__ import annotations

import math
import secrets
import zlib
from collections.abc import Iterable, Iterator
from datetime import timedelta

from pydantic import BaseModel
from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.clock import Clock, SystemClock
from watchkeeper.core.digest import commitment
from watchkeeper.core.errors import UnrecordableError, VerificationError
from watchkeeper.core.evidence import EvidenceKind, EvidenceRef
from watchkeeper.ledger.evidence.redaction import Redactor
from watchkeeper.ledger.tables import evidence
from watchkeeper.store.engine import Store

MAX_BODY_BYTES = 1_048_576
SALT_BYTES = 32
DEFAULT_MAX_BYTES = 10 * 1024**3
RECOUNT_S = 60.0
ALWAYS_KEPT = (EvidenceKind.REQUEST, EvidenceKind.REPLY, EvidenceKind.COMMENT)
"""What was done, and what people said of it. Authority bounds how much that is."""
REFERRED_WITHIN = timedelta(hours=1)
"""How long after a body was kept its first entry is written, at most: a call's, after its reply."""
BATCH = 500
"""How many commitments one statement names."""


class Evidence:
    def __init__(
        self,
        store: Store,
        redactor: Redactor | None = None,
        clock: Clock | None = None,
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> None:
        self._store, self._max_bytes = store, max_bytes
        self._held, self._counted = 0, -math.inf
        self._redactor = redactor or Redactor()
        self._clock = clock or SystemClock()

    async def put(
        self, tx: AsyncConnection, kind: EvidenceKind, body: bytes, media_type: str = "application/json"
    ) -> EvidenceRef:
        """Stores the body in the caller's transaction. Raises UnrecordableError above 1 MiB (callers cut, not we), and
        while the store is full, but for what was done and said: that is always kept."""
        _check_size(len(body), kind)
        clean = self._redactor.redact(body)
        _check_size(len(clean), kind)
        packed = zlib.compress(clean, 6)
        await self._make_sure_of_room(tx, kind, len(packed))
        salt = secrets.token_bytes(SALT_BYTES)
        ref = EvidenceRef(kind=kind, commitment=commitment(salt, clean), size=len(clean), media_type=media_type)
        await tx.execute(
            insert(evidence).values(
                commitment=ref.commitment,
                salt=salt,
                body=packed,
                kind=kind,
                media_type=media_type,
                size=len(clean),
                created=self._clock.now(),
            )
        )
        return ref

    async def _make_sure_of_room(self, tx: AsyncConnection, kind: EvidenceKind, more: int) -> None:
        if self._clock.monotonic() >= self._counted + RECOUNT_S:
            query = select(func.coalesce(func.sum(func.length(evidence.c.body)), 0))
            self._held, self._counted = int((await tx.execute(query)).scalar_one()), self._clock.monotonic()
        if kind not in ALWAYS_KEPT and self._held + more > self._max_bytes:
            raise UnrecordableError(
                f"the evidence store is full: evidence of kind {kind} was not kept",
                cause=f"it holds {self._held} of {self._max_bytes} bytes",
                next_step="raise ledger.evidence_max_bytes, or keep evidence for a shorter time",
            )
        self._held += more

    async def get(self, name: str) -> bytes | None:
        """The body of a commitment; None when it was erased or pruned. Raises VerificationError for an altered one."""
        async with self._store.read() as tx:
            row = (await tx.execute(select(evidence).where(evidence.c.commitment == name))).one_or_none()
        if row is None:
            return None
        body = inflate(row.body)
        if body is None or commitment(row.salt, body) != name:
            raise VerificationError(
                "a piece of evidence does not match its commitment",
                cause="its row was changed in the database",
                next_step="watchkeeper ledger verify",
                place=name,
            )
        return body


async def destroy(tx: AsyncConnection, commitments: Iterable[str]) -> list[EvidenceRef]:
    """Deletes bodies and salts in the caller's transaction, and says what was there. On SQLite their bytes are
    overwritten; `Store.settle` after the commit takes them out of its log too. PostgreSQL keeps them until the space is
    used again. The caller records it."""
    gone: list[EvidenceRef] = []
    names = list(dict.fromkeys(commitments))
    was = await _overwriting(tx, on=True)
    for first in range(0, len(names), BATCH):
        ours = evidence.c.commitment.in_(names[first : first + BATCH])
        query = select(evidence.c.commitment, evidence.c.kind, evidence.c.size, evidence.c.media_type).where(ours)
        gone += [EvidenceRef(**row) for row in (await tx.execute(query)).mappings()]
        await tx.execute(delete(evidence).where(ours))
    await _overwriting(tx, on=was)
    order = {name: place for place, name in enumerate(names)}
    return sorted(gone, key=lambda ref: order[ref.commitment])


async def _overwriting(tx: AsyncConnection, *, on: bool) -> bool:
    """Whether SQLite overwrites what it deletes; says how it was before."""
    if tx.dialect.name != "sqlite":
        return False
    was = bool((await tx.execute(text("PRAGMA secure_delete"))).scalar_one() == 1)
    if was != on:
        await tx.execute(text(f"PRAGMA secure_delete={'ON' if on else 'OFF'}"))
    return was


def refs_in(value: object) -> Iterator[EvidenceRef]:
    """Every evidence reference that a contract holds, in order."""
    if isinstance(value, EvidenceRef):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from refs_in(getattr(value, name))
    elif isinstance(value, tuple):
        for item in value:
            yield from refs_in(item)


def _check_size(size: int, kind: EvidenceKind) -> None:
    if size > MAX_BODY_BYTES:
        raise UnrecordableError(
            f"evidence of kind {kind} has {size} bytes; at most {MAX_BODY_BYTES} are kept",
            cause="the collector did not cut its body",
            next_step="report this as a bug: whoever collects evidence must bound it",
        )


def inflate(body: bytes) -> bytes | None:
    """None for what zlib cannot read or what grows beyond the bound."""
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error:
        return None
    return plain if inflater.eof and not inflater.unused_data and len(plain) <= MAX_BODY_BYTES else None
