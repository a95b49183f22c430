"""Incidents as the database knows them: opened, joined by findings, due, closed.

The ledger holds the story; these rows hold what is needed to go on. Opening and joining write their ledger entries in
the same transaction. A finding is recorded once per incident and fingerprint; what comes again only touches `updated`.
A trouble that comes back before it was calm for long enough opens its incident as a relapse of the one before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Row, Select, case, delete, exists, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.agents.records import Decided, Proposed
from watchkeeper.agents.tables import incident as incidents
from watchkeeper.agents.tables import incident_finding, incident_step
from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.clock import Clock
from watchkeeper.core.decisions import DecisionRecord
from watchkeeper.core.entries import (
    Draft,
    EntryType,
    FindingRecorded,
    IncidentClosed,
    IncidentOpened,
    OrderKind,
    OrderRecorded,
)
from watchkeeper.core.errors import ConflictError, NotFoundError
from watchkeeper.core.evidence import EvidenceKind, EvidenceRef
from watchkeeper.core.findings import FailureMode, Finding, Severity
from watchkeeper.core.ids import DecisionId, IncidentId, OrderId, PlanId, new_id
from watchkeeper.core.model import Contract, Instant
from watchkeeper.core.plans import Plan
from watchkeeper.core.principals import Principal
from watchkeeper.core.subjects import Scope
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.store.engine import Store


class Status(StrEnum):
    """Where an incident stands, in the words a person would use."""

    OPEN = "open"
    DIAGNOSING = "diagnosing"
    PROPOSING = "proposing"
    AWAITING_APPROVAL = "awaiting_approval"
    ACTING = "acting"
    VERIFYING = "verifying"
    HOLDING = "holding"
    RELEASING = "releasing"
    UNDOING = "undoing"
    ESCALATED = "escalated"
    CLOSED = "closed"


class Request(StrEnum):
    """What a person may ask of a running incident."""

    NONE = ""
    UNDO = "undo"


class Incident(Contract):
    """One row, typed. `subject` is the text form of what the first finding was about."""

    id: IncidentId
    status: Status
    scope: Scope
    mode: FailureMode
    severity: Severity
    subject: str
    fingerprint: str
    opened: Instant
    updated: Instant
    closed: Instant | None
    resolution: str
    wake_at: Instant | None
    request: Request
    order_id: OrderId | None
    """Of the request that waits to be taken up, by which the ledger knows it."""
    requested_by: Principal | None
    errors: int
    relapses: int
    """How often this trouble had come back when the incident was opened, and once it is closed, by its end."""
    calm_at: Instant | None
    """Of a closed incident that we acted on: when the same trouble is no longer its relapse."""


Relapsed = Callable[[AsyncConnection, IncidentId], Awaitable[None]]


class Incidents:
    """`relapsed` hears, in the transaction that opens a relapse, of the closed incident whose trouble it is again."""

    def __init__(
        self, store: Store, ledger: Ledger, evidence: Evidence, clock: Clock, relapsed: Relapsed | None = None
    ) -> None:
        self._store, self._ledger, self._evidence, self._clock = store, ledger, evidence, clock
        self._relapsed = relapsed

    async def open(self, finding: Finding, snapshot: bytes) -> IncidentId:
        """Opens an incident on its first finding, which is due at once."""
        now = self._clock.now()
        new = IncidentId(new_id("inc", now))
        async with self._store.write() as tx:
            before = await _not_yet_calm(tx, finding.fingerprint, now)
            relapses = 0 if before is None else before.relapses + 1
            opened = IncidentOpened(
                incident=new,
                scope=finding.scope,
                fingerprint=finding.fingerprint,
                opened=now,
                relapse_of=None if before is None else before.id,
                relapses=relapses,
            )
            await tx.execute(
                insert(incidents).values(
                    id=new,
                    status=Status.OPEN,
                    environment=finding.scope.environment,
                    service=finding.scope.service,
                    mode=finding.mode,
                    severity=finding.severity,
                    subject=str(finding.subject),
                    fingerprint=finding.fingerprint,
                    opened=now,
                    updated=now,
                    wake_at=now,
                    relapses=relapses,
                )
            )
            if before is not None and self._relapsed is not None:
                await self._relapsed(tx, before.id)
            await self._ledger.append(tx, Draft(type=EntryType.INCIDENT_OPENED, subject=new, data=opened))
            await self._record(tx, new, finding, snapshot)
        return new

    async def join(self, incident: IncidentId, finding: Finding, snapshot: bytes) -> None:
        """Adds a finding that belongs to an open incident."""
        async with self._store.write() as tx:
            await tx.execute(update(incidents).where(incidents.c.id == incident).values(updated=self._clock.now()))
            await self._record(tx, incident, finding, snapshot)

    async def _record(self, tx: AsyncConnection, incident: IncidentId, finding: Finding, snapshot: bytes) -> None:
        ref = await self._evidence.put(tx, EvidenceKind.SNAPSHOT, snapshot)
        kept = finding.model_copy(update={"evidence": (*finding.evidence, ref)})
        await tx.execute(
            insert(incident_finding).values(
                finding=kept.id, incident=incident, fingerprint=kept.fingerprint, body=canonical_model(kept)
            )
        )
        data = FindingRecorded(incident=incident, finding=kept)
        await self._ledger.append(tx, Draft(type=EntryType.FINDING, subject=incident, data=data))

    async def get(self, incident: IncidentId) -> Incident:
        async with self._store.read() as tx:
            row = (await tx.execute(select(incidents).where(incidents.c.id == incident))).one_or_none()
        if row is None:
            raise NotFoundError(
                f"there is no incident {incident}",
                cause="the id is mistyped or of another installation",
                next_step="watchkeeper incidents",
            )
        return _incident(row)

    async def findings(self, incident: IncidentId) -> tuple[Finding, ...]:
        query = select(incident_finding.c.body).where(incident_finding.c.incident == incident)
        async with self._store.read() as tx:
            rows = (await tx.execute(query.order_by(incident_finding.c.id))).all()
        return tuple(Finding.model_validate_json(row.body) for row in rows)

    async def plan(self, incident: IncidentId, plan: PlanId) -> Plan | None:
        """A plan that was made for the incident; None if no step recorded it."""
        query = select(incident_step.c.result).where(
            incident_step.c.incident == incident, incident_step.c.step.like("propose/%")
        )
        async with self._store.read() as tx:
            found = [Proposed.model_validate_json(row.result).plan for row in (await tx.execute(query)).all()]
        return next((each for each in found if each is not None and each.id == plan), None)

    async def decision(self, incident: IncidentId, decision: DecisionId) -> DecisionRecord | None:
        """A decision that was made for the incident; None if no step recorded it."""
        query = select(incident_step.c.result).where(
            incident_step.c.incident == incident, incident_step.c.step.like("decide/%")
        )
        async with self._store.read() as tx:
            found = [Decided.model_validate_json(row.result).record for row in (await tx.execute(query)).all()]
        return next((each for each in found if each.id == decision), None)

    async def open_now(self) -> tuple[Incident, ...]:
        """Every incident that is not closed, newest first."""
        query = select(incidents).where(incidents.c.status != Status.CLOSED)
        return await self._all(query.order_by(incidents.c.opened.desc(), incidents.c.id.desc()))

    async def count_open(self) -> int:
        query = select(func.count()).select_from(incidents).where(incidents.c.status != Status.CLOSED)
        async with self._store.read() as tx:
            return int((await tx.execute(query)).scalar_one())

    async def list(self, *, include_closed: bool = False, limit: int = 100) -> tuple[Incident, ...]:
        """Newest first, at most `limit`."""
        query = select(incidents).order_by(incidents.c.opened.desc(), incidents.c.id.desc()).limit(limit)
        if not include_closed:
            query = query.where(incidents.c.status != Status.CLOSED)
        return await self._all(query)

    async def due(self, now: datetime, limit: int = 64) -> tuple[Incident, ...]:
        """Open incidents whose time has come, also because a person asked something; the longest due first."""
        query = select(incidents).where(incidents.c.status != Status.CLOSED, incidents.c.wake_at <= now)
        return await self._all(query.order_by(incidents.c.wake_at).limit(limit))

    async def _all(self, query: Select[tuple[object, ...]]) -> tuple[Incident, ...]:
        async with self._store.read() as tx:
            rows = (await tx.execute(query)).all()
        return tuple(_incident(row) for row in rows)

    async def set_status(self, tx: AsyncConnection, incident: IncidentId, status: Status) -> None:
        """Within the caller's transaction, beside what made the status true. What a person has closed stays closed."""
        now = self._clock.now()
        still = (incidents.c.id == incident) & (incidents.c.status != Status.CLOSED)
        await tx.execute(update(incidents).where(still).values(status=status, updated=now))

    async def sleep(self, incident: Incident, until: datetime | None, *, errors: int = 0) -> None:
        """When to look at it next; None: only when a person asks. Not, if it was woken since `incident` was read: that
        is not slept over."""
        unchanged = incidents.c.wake_at.is_not_distinct_from(incident.wake_at)
        wake_at = case((unchanged, literal(until, incidents.c.wake_at.type)), else_=incidents.c.wake_at)
        values = {"wake_at": wake_at, "errors": errors}
        async with self._store.write() as tx:
            await tx.execute(update(incidents).where(incidents.c.id == incident.id).values(values))

    async def wake(self, tx: AsyncConnection, incident: IncidentId) -> None:
        """Beside what it has to look at, in the caller's transaction and before anything else of it is locked: a crash
        cannot part the two, and an incident's steps lock its row first too."""
        await tx.execute(update(incidents).where(incidents.c.id == incident).values(wake_at=self._clock.now()))

    async def ask(self, incident: IncidentId, request: Request, by: Principal) -> None:
        """Leaves a person's request for the incident's next step, and records who asked. Refused once the incident is
        closed."""
        async with self._store.write() as tx:
            await self.order(tx, incident, request, by)

    async def order(
        self, tx: AsyncConnection, incident: IncidentId, request: Request, by: Principal, stop: OrderId | None = None
    ) -> OrderId:
        """The same in the caller's transaction. `stop`: the order of `stop --then-undo` that this one is part of."""
        now = self._clock.now()
        order = OrderId(new_id("ord", now))
        asked = {"request": request, "order_id": order, "requested_by": canonical_model(by), "wake_at": now}
        done = await tx.execute(
            update(incidents).where(incidents.c.id == incident, incidents.c.status != Status.CLOSED).values(**asked)
        )
        if done.rowcount == 0:
            raise ConflictError(
                f"incident {incident} is closed or unknown: nothing of it is in force",
                cause="its remedy was already given back",
                next_step=f"watchkeeper ledger show {incident}",
            )
        ordered = OrderRecorded(order=order, incident=incident, kind=OrderKind(request), by=by, stop=stop)
        await self._ledger.append(tx, Draft(type=EntryType.ORDER, subject=incident, data=ordered))
        return order

    async def answered(self, tx: AsyncConnection, incident: IncidentId, order: OrderId) -> None:
        """The order has been taken up. One that was given since is not: it waits for its turn."""
        await tx.execute(
            update(incidents)
            .where(incidents.c.id == incident, incidents.c.order_id == order)
            .values(request=Request.NONE, order_id=None, requested_by=None)
        )

    async def close(
        self,
        tx: AsyncConnection,
        incident: IncidentId,
        resolution: str,
        *,
        relapses: int = 0,
        calm_at: datetime | None = None,
    ) -> None:
        """`calm_at`: until when the same trouble counts as a relapse of this one; None if nothing was done for it.
        Raises `ConflictError` if it was closed meanwhile."""
        now = self._clock.now()
        ended = {"status": Status.CLOSED, "closed": now, "updated": now, "resolution": resolution, "wake_at": None}
        kept = {"relapses": relapses, "calm_at": calm_at}
        still = (incidents.c.id == incident) & (incidents.c.status != Status.CLOSED)
        if (await tx.execute(update(incidents).where(still).values(ended | kept))).rowcount != 1:
            raise ConflictError(
                f"incident {incident} is closed already",
                cause="a person or another process closed it",
                next_step=f"watchkeeper ledger show {incident}",
            )
        data = IncidentClosed(incident=incident, resolution=resolution)
        await self._ledger.append(tx, Draft(type=EntryType.INCIDENT_CLOSED, subject=incident, data=data))

    async def spent(self, before: datetime, limit: int = 64) -> tuple[IncidentId, ...]:
        """Incidents that were closed before then and whose steps are still kept."""
        kept = exists().where(incident_step.c.incident == incidents.c.id)
        query = select(incidents.c.id).where(incidents.c.status == Status.CLOSED, incidents.c.closed < before, kept)
        async with self._store.read() as tx:
            rows = (await tx.execute(query.order_by(incidents.c.closed).limit(limit))).all()
        return tuple(IncidentId(row.id) for row in rows)

    async def forget_steps(self, tx: AsyncConnection, incident: IncidentId) -> None:
        """Of a closed incident: nothing of it will be done again, and the ledger has the story."""
        await tx.execute(delete(incident_step).where(incident_step.c.incident == incident))

    async def close_for(self, tx: AsyncConnection, incident: Incident, by: Principal, comment: EvidenceRef) -> None:
        """Closes it by a person's order."""
        order = OrderId(new_id("ord", self._clock.now()))
        ordered = OrderRecorded(order=order, incident=incident.id, kind=OrderKind.CLOSE, by=by, comment=comment)
        await self._ledger.append(tx, Draft(type=EntryType.ORDER, subject=incident.id, data=ordered))
        await self.close(tx, incident.id, "closed_by_person", relapses=incident.relapses)


async def hold(tx: AsyncConnection, incident: IncidentId) -> None:
    """Locks the row before the transaction appends to the ledger, as an order or a finding does: one that took them in
    the other order could stand against those. SQLite has one writer at a time anyway."""
    if tx.dialect.name == "postgresql":
        row = select(incidents.c.id).where(incidents.c.id == incident)
        await tx.execute(row.with_for_update(key_share=True))


async def _not_yet_calm(tx: AsyncConnection, fingerprint: str, now: datetime) -> Incident | None:
    """The last closed incident with such a finding, if this trouble has not been away for long enough since."""
    query = (
        select(incidents)
        .join(incident_finding, incident_finding.c.incident == incidents.c.id)
        .where(incident_finding.c.fingerprint == fingerprint, incidents.c.status == Status.CLOSED)
        .where(incidents.c.calm_at > now)
        .order_by(incidents.c.closed.desc())
        .limit(1)
    )
    row = (await tx.execute(query)).one_or_none()
    return None if row is None else _incident(row)


def _incident(row: Row[tuple[object, ...]]) -> Incident:
    values = dict(row._mapping)
    by = values.pop("requested_by")
    scope = Scope(environment=values.pop("environment"), service=values.pop("service"))
    return Incident(**values, scope=scope, requested_by=None if by is None else Principal.model_validate_json(by))
