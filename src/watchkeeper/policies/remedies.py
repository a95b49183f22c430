"""Remedies in force: what we changed on targets and still hold.

A field of a target has at most one owner (the key of `owned_field`): the plan whose claim reserved it, then the remedy.
Every change of a remedy is a ledger entry, written in the caller's transaction. It does not look at the target: whether
our value is still there is for `observe` to say.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.actions import Change
from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.entries import Draft, EntryType, RemedyRecorded
from watchkeeper.core.errors import ConflictError, NotFoundError
from watchkeeper.core.ids import IncidentId, PlanId, RemedyId
from watchkeeper.core.model import Contract, Instant
from watchkeeper.core.remedies import HELD, Remedy
from watchkeeper.ledger.append import Ledger
from watchkeeper.policies.tables import effect_claim, owned_field
from watchkeeper.policies.tables import remedy as remedies
from watchkeeper.store.engine import Store


class Reserved(Contract):
    """A step whose effect may be on its way or done, though no remedy is recorded for it yet."""

    incident: IncidentId
    plan: PlanId
    step: int
    since: Instant


class Remedies:
    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._store, self._ledger = store, ledger

    async def record(self, tx: AsyncConnection, remedy: Remedy) -> None:
        """Puts a remedy in force. Raises `ConflictError` if another plan owns one of its fields."""
        target = str(remedy.change.target)
        await tx.execute(
            insert(remedies).values(
                id=remedy.id,
                incident=remedy.incident,
                plan=remedy.plan,
                step=remedy.step,
                target=target,
                status=remedy.status.value,
                expires=remedy.expires,
                body=canonical_model(remedy),
            )
        )
        for path in sorted({change.path for change in remedy.change.fields}):
            await self._own(tx, remedy, target, path)
        await self._append(tx, remedy, remedy.change, "in_force")

    async def update(self, tx: AsyncConnection, remedy: Remedy, reason: str, change: Change | None = None) -> None:
        """Replaces what is known of a remedy that is still held; out of force, its fields are anybody's again.

        `change` is what was done to the target this time (one step of a release, the undo); None: nothing.
        """
        changed = (
            update(remedies)
            .where(remedies.c.id == remedy.id, remedies.c.status.in_(HELD))
            .values(status=remedy.status.value, expires=remedy.expires, body=canonical_model(remedy))
        )
        if (await tx.execute(changed)).rowcount != 1:
            raise ConflictError(
                f"{remedy.id} is not in force",
                cause="it was released, undone or lost before",
                next_step=f"watchkeeper incidents show {remedy.incident}",
            )
        if remedy.status not in HELD:
            await tx.execute(delete(owned_field).where(owned_field.c.remedy == remedy.id))
        await self._append(tx, remedy, change, reason)

    async def get(self, remedy_id: RemedyId) -> Remedy:
        async with self._store.read() as tx:
            query = select(remedies.c.body).where(remedies.c.id == remedy_id)
            body = (await tx.execute(query)).scalar_one_or_none()
        if body is None:
            raise NotFoundError(f"there is no remedy {remedy_id}", next_step="watchkeeper incidents")
        return Remedy.model_validate_json(body)

    async def in_force(self) -> tuple[Remedy, ...]:
        """What we hold anywhere, oldest first."""
        return await self._where(remedies.c.status.in_(HELD))

    async def reserved(self) -> tuple[Reserved, ...]:
        """What a claim has reserved since, and no remedy holds yet."""
        first = (effect_claim.c.plan == owned_field.c.plan) & (effect_claim.c.step == owned_field.c.step)
        columns = (owned_field.c.incident, owned_field.c.plan, owned_field.c.step)
        query = (
            select(*columns, func.min(effect_claim.c.taken).label("since"))
            .join(effect_claim, first)
            .where(owned_field.c.remedy.is_(None))
            .group_by(*columns)
            .order_by(*columns)
        )
        async with self._store.read() as tx:
            return tuple(Reserved(**row._mapping) for row in await tx.execute(query))

    async def holds(self, tx: AsyncConnection, incident: IncidentId) -> bool:
        """Whether anything of the incident is in force, in the caller's transaction."""
        query = select(remedies.c.id).where(remedies.c.incident == incident, remedies.c.status.in_(HELD))
        return (await tx.execute(query.limit(1))).first() is not None

    async def incidents_holding(self, tx: AsyncConnection) -> frozenset[str]:
        """Of which incidents anything is in force."""
        query = select(remedies.c.incident).where(remedies.c.status.in_(HELD))
        return frozenset((await tx.execute(query.distinct())).scalars())

    async def of_incident(self, incident: IncidentId) -> tuple[Remedy, ...]:
        """All remedies of an incident, past ones too."""
        return await self._where(remedies.c.incident == incident)

    async def _where(self, *conditions: ColumnElement[bool]) -> tuple[Remedy, ...]:
        async with self._store.read() as tx:
            found = await tx.execute(select(remedies.c.body).where(*conditions).order_by(remedies.c.id))
            return tuple(Remedy.model_validate_json(row.body) for row in found)

    async def _own(self, tx: AsyncConnection, remedy: Remedy, target: str, path: str) -> None:
        here = (owned_field.c.target == target) & (owned_field.c.path == path)
        reserved = (
            update(owned_field)
            .where(here, owned_field.c.plan == remedy.plan, owned_field.c.remedy.is_(None))
            .values(remedy=remedy.id)
        )
        if (await tx.execute(reserved)).rowcount == 1:
            return
        raise ConflictError(
            f"{path} of {target} is not reserved by {remedy.plan}",
            cause="no claim of this plan changed it, or it is held already",
            next_step=f"watchkeeper incidents show {remedy.incident}",
        )

    async def _append(self, tx: AsyncConnection, remedy: Remedy, change: Change | None, reason: str) -> None:
        data = RemedyRecorded(remedy=remedy, change=change, reason=reason)
        await self._ledger.append(tx, Draft(type=EntryType.REMEDY, subject=remedy.incident, data=data))
