"""Erasing evidence at a person's word: bodies and salts go, and that they went is an entry of the same transaction.

The references stay in the entries that hold them, and the log verifies as before. Entries themselves are never erased.
Copies that somebody made (backups, replicas, what was sent elsewhere) are not found here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.entries import Draft, EntryType, Envelope, EvidenceErased
from watchkeeper.core.errors import ConflictError, NotFoundError
from watchkeeper.core.evidence import EvidenceKind, EvidenceRef
from watchkeeper.core.ids import EntryId, IncidentId
from watchkeeper.core.model import Contract
from watchkeeper.core.principals import Principal
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.evidence.store import REFERRED_WITHIN, Evidence, destroy, refs_in
from watchkeeper.ledger.reader import MAX_READ
from watchkeeper.ledger.tables import evidence as table
from watchkeeper.ledger.tables import ledger_staged
from watchkeeper.store.engine import Store

PREFIX = "hmac-sha256:"
MAX_ERASED = 1000
"""How many bodies one call erases."""
PER_ENTRY = 200
"""References that surely fit into an entry."""


class EntryUse(Contract):
    """An entry that refers to a body."""

    id: str
    type: str
    subject: str


class EvidenceUse(Contract):
    """A body that is there, and the entries that refer to it: of the hour in which it was kept, and of the incidents
    that those are about."""

    ref: EvidenceRef
    entries: tuple[EntryUse, ...]


class Erasure(Contract):
    """`found` is what goes or went; `gone_before` what was not there. `entries` tell of it, none for a look.
    `overwritten` says that the bytes are in no file of the database any more."""

    found: tuple[EvidenceUse, ...]
    gone_before: tuple[str, ...]
    entries: tuple[EntryId, ...] = ()
    overwritten: bool = False


class Eraser:
    def __init__(self, store: Store, ledger: Ledger, evidence: Evidence) -> None:
        self._store, self._ledger, self._evidence = store, ledger, evidence

    async def of_incident(self, incident: IncidentId, kind: EvidenceKind | None) -> tuple[str, ...]:
        """The commitments in an incident's entries, in order. Raises NotFoundError where it has none."""
        query = (
            select(ledger_staged.c.body)
            # why something was erased is not erased with the rest
            .where(ledger_staged.c.subject == incident, ledger_staged.c.type != EntryType.EVIDENCE_ERASED)
            .order_by(ledger_staged.c.id)
        )
        async with self._store.read() as tx:
            told = (await tx.execute(query.limit(MAX_READ))).scalars().all()
        refs = [ref for body in told for ref in refs_in(Envelope.model_validate_json(body).typed())]
        names = [ref.commitment for ref in refs if kind in (None, ref.kind)]
        if not names:
            raise NotFoundError(
                f"no entry of {incident[:64]} refers to evidence" + (f" of kind {kind}" if kind else ""),
                cause="the incident's id is mistyped, or it recorded none",
                next_step=f"watchkeeper ledger show {incident[:64]}",
            )
        return tuple(dict.fromkeys(names))

    async def named(self, given: Sequence[str]) -> tuple[str, ...]:
        """The commitments that begin so; what nothing begins with stays as it is given. Raises ConflictError where
        several do."""
        names: list[str] = []
        async with self._store.read() as tx:
            for start in (f"{PREFIX}{name.removeprefix(PREFIX)}" for name in given):
                query = select(table.c.commitment).where(table.c.commitment.startswith(start, autoescape=True)).limit(2)
                found = (await tx.execute(query)).scalars().all()
                if len(found) > 1:
                    raise ConflictError(
                        f"more than one commitment begins with {start}",
                        cause="too few of its digits are given",
                        next_step="watchkeeper ledger show INCIDENT --json",
                    )
                names.append(found[0] if found else start)
        return tuple(names)

    async def look(self, commitments: Sequence[str]) -> Erasure:
        """What would go; nothing is changed."""
        names = list(dict.fromkeys(commitments))
        async with self._store.read() as tx:
            query = select(table.c.commitment, table.c.kind, table.c.size, table.c.media_type, table.c.created)
            rows = {row.commitment: row for row in await tx.execute(query.where(table.c.commitment.in_(names)))}
            found = []
            for row in (rows[name] for name in names if name in rows):
                ref = EvidenceRef(kind=row.kind, commitment=row.commitment, size=row.size, media_type=row.media_type)
                found.append(EvidenceUse(ref=ref, entries=await _uses(tx, row.commitment, row.created)))
        return Erasure(found=tuple(found), gone_before=tuple(name for name in names if name not in rows))

    async def erase(
        self, commitments: Sequence[str], by: Principal, reason: str, incident: IncidentId | None = None
    ) -> Erasure:
        """Destroys what is there of it. Where nothing is, nothing is recorded either."""
        seen = await self.look(commitments)
        async with self._store.write() as tx:
            gone = await destroy(tx, commitments)
            entries = await self._record(tx, gone, by, reason, incident) if gone else ()
        went = {ref.commitment for ref in gone}
        return Erasure(
            found=tuple(use for use in seen.found if use.ref.commitment in went),
            gone_before=tuple(name for name in dict.fromkeys(commitments) if name not in went),
            entries=entries,
            overwritten=bool(gone) and await self._store.settle(),
        )

    async def _record(
        self, tx: AsyncConnection, gone: list[EvidenceRef], by: Principal, reason: str, incident: IncidentId | None
    ) -> tuple[EntryId, ...]:
        said = await self._evidence.put(tx, EvidenceKind.COMMENT, reason.encode(), "text/plain")
        parts = [tuple(gone[first : first + PER_ENTRY]) for first in range(0, len(gone), PER_ENTRY)]
        told = [EvidenceErased(erased=part, by=by, reason=said) for part in parts]
        subject = incident or ""
        return await self._ledger.append(
            tx, *(Draft(type=EntryType.EVIDENCE_ERASED, subject=subject, data=data) for data in told)
        )


async def _uses(tx: AsyncConnection, name: str, created: datetime) -> tuple[EntryUse, ...]:
    """Without reading the whole log: by when it was kept, then by what was found so."""
    columns = select(ledger_staged.c.entry_id, ledger_staged.c.type, ledger_staged.c.subject)
    holds = literal(name.encode()).op("IN")(ledger_staged.c.body)
    position = func.instr(ledger_staged.c.body, name.encode()) if tx.dialect.name == "sqlite" else func.position(holds)
    near = ledger_staged.c.time.between(created - timedelta(seconds=1), created + REFERRED_WITHIN)
    found = set((await tx.execute(columns.where(position > 0, near))).all())
    subjects = {row.subject for row in found} - {""}
    if subjects:
        found |= set((await tx.execute(columns.where(position > 0, ledger_staged.c.subject.in_(subjects)))).all())
    return tuple(EntryUse(id=row.entry_id, type=row.type, subject=row.subject) for row in sorted(found))
