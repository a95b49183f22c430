"""Cosignatures that were collected: kept, put together with their checkpoints, and held against a policy.

Rows are inserted and never changed. Nothing here trusts them: a line counts only once it was verified against a key
that the caller trusts, since whoever owns the database can write the key beside it too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Literal, NamedTuple

from pydantic import Field
from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.errors import InputError, VerificationError
from watchkeeper.core.model import Contract, Instant
from watchkeeper.ledger.cosigning.cosignature import CosignerKey
from watchkeeper.ledger.cosigning.quorum import Policy
from watchkeeper.ledger.signing.note import MAX_SIGNATURES, Note, SignatureLine, VerifierKey
from watchkeeper.ledger.tables import ledger_checkpoint, ledger_cosignature

PAGE = 500
_COLUMNS = (
    ledger_cosignature.c.size,
    ledger_checkpoint.c.body,
    ledger_cosignature.c.vkey,
    ledger_cosignature.c.line,
)
_JOINED = ledger_cosignature.outerjoin(ledger_checkpoint, ledger_checkpoint.c.size == ledger_cosignature.c.size)


class Cosigned(NamedTuple):
    """A checkpoint (None: its row is gone) and what was collected of it, as it is stored."""

    size: int
    note: str | None
    lines: tuple[tuple[str, str], ...]
    """Verifier key and signature line."""

    def whole(self) -> str:
        """The note with all its cosignatures; lines that cannot be read are left out."""
        readable = [line for _, line in self.lines if _read(line) is not None]
        return (self.note or "") + "".join(readable[: MAX_SIGNATURES - 1])


class WitnessState(Contract):
    """One configured witness. `trouble` is what this process met last, empty when it answered; `disputed`: it
    remembers another log than ours."""

    name: str
    url: str
    key: str
    cosigned_size: int = Field(default=0, ge=0)
    cosigned_at: Instant | None = None
    failures: int = 0
    disputes: int = 0
    disputed: bool = False
    trouble: str = ""


class WitnessReport(Contract):
    """`quorum_size` is the size of the newest checkpoint that meets the configured policy."""

    size: int
    quorum: Literal["met", "not_met", "no_policy"]
    quorum_size: int | None = None
    witnesses: tuple[WitnessState, ...] = ()


async def put(tx: AsyncConnection, size: int, key: CosignerKey, line: SignatureLine, at: datetime) -> None:
    """Keeps a line that was verified; what is there already stays."""
    insert = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    row = {"size": size, "vkey": key.vkey, "line": line.to_text(), "at": at}
    await tx.execute(insert(ledger_cosignature).values(row).on_conflict_do_nothing())


async def newest_of(tx: AsyncConnection, vkey: str) -> tuple[int, datetime | None]:
    """The size of the newest checkpoint that this key cosigned, and when we were told; 0 if none."""
    query = select(ledger_cosignature.c.size, ledger_cosignature.c.at).where(ledger_cosignature.c.vkey == vkey)
    row = (await tx.execute(query.order_by(ledger_cosignature.c.size.desc()).limit(1))).one_or_none()
    return (0, None) if row is None else (row.size, row.at)


async def of_size(tx: AsyncConnection, size: int) -> Cosigned | None:
    query = select(*_COLUMNS).select_from(_JOINED).where(ledger_cosignature.c.size == size)
    found = _grouped((await tx.execute(query.order_by(ledger_cosignature.c.vkey))).all())
    return found[0] if found else None


async def newest_checkpoint(tx: AsyncConnection) -> str | None:
    """The newest checkpoint with whatever cosignatures it has."""
    newest = select(func.max(ledger_checkpoint.c.size)).scalar_subquery()
    query = select(ledger_checkpoint.c.size, ledger_checkpoint.c.body).where(ledger_checkpoint.c.size == newest)
    row = (await tx.execute(query)).one_or_none()
    if row is None:
        return None
    found = await of_size(tx, row.size)
    return row.body if found is None else found.whole()


async def newest_valid(tx: AsyncConnection, policy: Policy, known: Iterable[VerifierKey] = ()) -> str | None:
    """The newest checkpoint, with its cosignatures, that the policy calls valid."""
    logs = tuple(known)
    if not policy.quorum:
        note = await newest_checkpoint(tx)
        return note if note is not None and _valid(note, policy, logs) else None
    async for page in pages(tx, newest_first=True):
        note = newest_in(page, policy, logs)
        if note is not None:
            return note
    return None


def newest_in(found: Iterable[Cosigned], policy: Policy, known: Iterable[VerifierKey]) -> str | None:
    """The first of these that the policy calls valid. Keys that stand in the database only spare us the others."""
    names = {witness.key.vkey: witness.name for witness in policy.witnesses}
    logs = tuple(known)
    for each in found:
        claimed = {names[vkey] for vkey, _ in each.lines if vkey in names}
        if policy.holds(claimed) and _valid(each.whole(), policy, logs):
            return each.whole()
    return None


async def pages(
    tx: AsyncConnection, *, first: int = 0, end: int | None = None, newest_first: bool = False
) -> AsyncIterator[Sequence[Cosigned]]:
    """Every checkpoint with cosignatures, of the sizes `first` to `end`, some hundred at a time."""
    size = ledger_cosignature.c.size
    sizes = select(size).where(size >= first).distinct().order_by(size.desc() if newest_first else size).limit(PAGE)
    if end is not None:
        sizes = sizes.where(size <= end)
    beyond: int | None = None
    while True:
        query = sizes if beyond is None else sizes.where(size < beyond if newest_first else size > beyond)
        wanted = list((await tx.execute(query)).scalars())
        if not wanted:
            return
        rows = select(*_COLUMNS).select_from(_JOINED).where(size >= min(wanted), size <= max(wanted))
        order = (size.desc() if newest_first else size, ledger_cosignature.c.vkey)
        yield _grouped((await tx.execute(rows.order_by(*order))).all())
        beyond = wanted[-1]


def faults(found: Iterable[Cosigned]) -> list[str]:
    """Places of lines that do not verify against the key they were stored with."""
    return [
        f"cosignature {each.size} {_name(vkey)}"
        for each in found
        for vkey, line in each.lines
        if not _verifies(each.note, vkey, line)
    ]


def _verifies(note: str | None, vkey: str, line: str) -> bool:
    read = _read(line)
    try:
        key = CosignerKey.from_vkey(vkey)
        text = Note.from_text(note or "").text
    except (InputError, VerificationError):
        return False
    return (
        read is not None and (read.name, read.key_id) == (key.name, key.key_id) and key.verifies(text, read.signature)
    )


def _valid(note: str, policy: Policy, known: tuple[VerifierKey, ...]) -> bool:
    try:
        policy.open(note, known)
    except VerificationError:
        return False
    return True


def _read(line: str) -> SignatureLine | None:
    try:
        read = SignatureLine.from_line(line.removesuffix("\n"))
    except ValueError:
        return None
    return read if read.to_text() == line else None


def _name(vkey: str) -> str:
    """What a person knows the key by; of what is no vkey at most a little."""
    return ascii(vkey.partition("+")[0][:80])[1:-1] or "of nobody"


def _grouped(rows: Iterable[Sequence[object]]) -> list[Cosigned]:
    """Rows in order of size → one for each size."""
    found = []
    for size, group in groupby(rows, key=lambda row: row[0]):
        same = list(group)
        note = same[0][1]
        lines = tuple((str(row[2]), str(row[3])) for row in same)
        found.append(Cosigned(int(str(size)), None if note is None else str(note), lines))
    return found
