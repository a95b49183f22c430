"""Approvals: people's answers to one plan.

An approval binds one plan hash, once, until it expires (invariant 3). "Once" is one execution of the plan: the plan's
first claim marks the approval as used by it, and later claims of that same plan (its next steps, its release, its undo,
its re-application after a relapse, all within bounds the plan itself declares) ride on it, also after it has expired.
Any other plan, an edited one too, has another hash and is approved anew; the approval before it is superseded.
Who counts is for `quorum`, what a claim believes for `binding`. It does not authenticate: `Principal` says how that was
done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Row, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.clock import Clock
from watchkeeper.core.consents import ApprovalAnswer, ApprovalAnswered, ApprovalEscalated, ApprovalRequested
from watchkeeper.core.decisions import ApprovalTerms, DecisionRecord
from watchkeeper.core.entries import Draft, EntryType
from watchkeeper.core.errors import ConflictError, ForbiddenError, NotFoundError
from watchkeeper.core.evidence import EvidenceRef
from watchkeeper.core.ids import ApprovalId, IncidentId, new_id
from watchkeeper.core.model import Contract, Instant
from watchkeeper.core.plans import Plan
from watchkeeper.core.principals import Principal, Role
from watchkeeper.ledger.append import Ledger
from watchkeeper.policies import rows
from watchkeeper.policies.approval.quorum import Panel, standing
from watchkeeper.policies.tables import approval, approval_answer, approval_escalation
from watchkeeper.store.engine import Store

DEFAULT_TERMS = (ApprovalTerms(node="core", roles=(Role.APPROVER,), quorum=1, ttl_s=1800),)
"""What a decision asks for when it requires an approval and no document says whose."""


First = Callable[[AsyncConnection], Awaitable[None]]
"""What else becomes true with an answer, written before it: an incident's row is locked before its approval's."""


class ApprovalState(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"


class Approval(Contract):
    """`answers` are those given so far, by person; `reached` are the steps of escalation that were due."""

    request: ApprovalRequested
    state: ApprovalState
    answers: tuple[ApprovalAnswered, ...] = ()
    reached: tuple[ApprovalEscalated, ...] = ()
    asked: Instant | None = None
    told: Instant | None = None
    """When people were told of it; None: not yet."""


def draft(
    plan: Plan, record: DecisionRecord, now: datetime, ttl_s: float, supersedes: tuple[ApprovalId, ...] = ()
) -> ApprovalRequested:
    """The request for one plan; it lives for `ttl_s` or the shortest time a term allows."""
    terms = record.decision.approvals or DEFAULT_TERMS
    return ApprovalRequested(
        approval=ApprovalId(new_id("apr", now)),
        incident=plan.incident,
        plan=plan.id,
        plan_hash=plan.plan_hash,
        decision=record.id,
        terms=terms,
        expires=now + timedelta(seconds=min(ttl_s, *(term.ttl_s for term in terms))),
        authors=plan.authors,
        supersedes=supersedes,
    )


class Approvals:
    def __init__(self, store: Store, ledger: Ledger, clock: Clock) -> None:
        self._store, self._ledger, self._clock = store, ledger, clock

    async def request(self, tx: AsyncConnection, requested: ApprovalRequested) -> ApprovalId:
        """Asks, in the caller's transaction, and ends what it takes the place of."""
        for old in requested.supersedes:
            await self.supersede(tx, old, by=None)
        values = {
            "id": requested.approval,
            "incident": requested.incident,
            "plan_hash": requested.plan_hash,
            "state": ApprovalState.PENDING,
            "expires": requested.expires,
            "audience": audience(requested),
            "asked": self._clock.now(),
            "body": canonical_model(requested),
        }
        await tx.execute(insert(approval).values(**values))
        await self._ledger.append(
            tx, Draft(type=EntryType.APPROVAL_REQUESTED, subject=requested.incident, data=requested)
        )
        return requested.approval

    async def answer(
        self,
        approval_id: ApprovalId,
        answer: ApprovalAnswer,
        by: Principal,
        via: str,
        comment: EvidenceRef | None = None,
        plan_hash: str | None = None,
        first: First | None = None,
    ) -> ApprovalState:
        """Records one person's answer and says what the approval has become. `plan_hash`: the plan that the person
        read; the answer to another one is refused. `first`: in the same commit."""
        if answer not in (ApprovalAnswer.APPROVED, ApprovalAnswer.REJECTED):
            raise ForbiddenError(f"nobody answers `{answer}`", next_step="watchkeeper approve or reject")
        try:
            async with self._store.write() as tx:
                if first is not None:
                    await first(tx)
                row = await _locked(tx, approval_id)
                requested = ApprovalRequested.model_validate_json(row.body)
                if plan_hash not in (None, requested.plan_hash):
                    raise _other_plan(requested)
                Panel(requested, await _reached(tx, approval_id)).may_answer(by, answer)
                state = await self._expire_one(tx, row, requested)
                if state is ApprovalState.PENDING:
                    state = await self._count(tx, requested, answer, by, via, comment)
                    answered = True
                else:
                    answered = False
        except IntegrityError as error:
            raise ConflictError(
                f"{by.id} has already answered {approval_id}",
                cause="each person counts once",
                next_step=f"watchkeeper incidents show {requested.incident}",
            ) from error
        if not answered:
            raise ConflictError(
                f"{approval_id} is already {state}",
                cause="it was answered, or its time is over",
                next_step=f"watchkeeper incidents show {requested.incident}",
            )
        return state

    async def supersede(
        self, tx: AsyncConnection, approval_id: ApprovalId, by: Principal | None, comment: EvidenceRef | None = None
    ) -> bool:
        """Another plan takes its place, or none is needed: it never applies. False if it was used or had ended before.
        `by`: the person whose edit it was."""
        row = await _locked(tx, approval_id)
        if row.state not in (ApprovalState.PENDING, ApprovalState.APPROVED) or row.used_by is not None:
            return False
        await tx.execute(update(approval).where(approval.c.id == row.id).values(state=ApprovalState.SUPERSEDED))
        requested = ApprovalRequested.model_validate_json(row.body)
        await self._append(tx, _answered(requested, ApprovalAnswer.SUPERSEDED, by, comment=comment))
        return True

    async def replaceable(self, incident: IncidentId) -> tuple[ApprovalId, ...]:
        """Of the incident, what waits or was approved and not used: the next request takes its place."""
        async with self._store.read() as tx:
            return await _unused(tx, incident)

    async def withdraw(self, tx: AsyncConnection, incident: IncidentId) -> None:
        """The incident is over: nobody need answer any more, and what was approved and not used never applies."""
        for each in await _unused(tx, incident):
            await self.supersede(tx, each, by=None)

    async def escalate(self, tx: AsyncConnection, step: ApprovalEscalated) -> bool:
        """A step of the escalation is due: recorded once, while the approval waits. False if there is nothing to do."""
        row = await _locked(tx, step.approval)
        if row.state != ApprovalState.PENDING or row.expires <= self._clock.now():
            return False
        values = {"approval": step.approval, "term": step.term, "step": step.step, "body": canonical_model(step)}
        put = rows.insert_or_ignore(tx)(approval_escalation).values(values).on_conflict_do_nothing()
        if (await tx.execute(put.returning(approval_escalation.c.approval))).first() is None:
            return False
        await self._ledger.append(tx, Draft(type=EntryType.APPROVAL_ESCALATED, subject=step.incident, data=step))
        return True

    async def mark_told(self, tx: AsyncConnection, approvals: Collection[ApprovalId]) -> tuple[ApprovalId, ...]:
        """Which of these wait and had not been told of before; from now on they have."""
        news = (
            update(approval)
            .where(approval.c.id.in_(approvals), approval.c.told.is_(None), approval.c.state == ApprovalState.PENDING)
            .values(told=self._clock.now())
        )
        in_order = select(approval.c.id).where(approval.c.id.in_(approvals)).order_by(approval.c.id)
        await tx.execute(in_order.with_for_update())  # as those that expire are locked
        return tuple(ApprovalId(each) for each in (await tx.execute(news.returning(approval.c.id))).scalars())

    async def last_told(self, whom: str) -> datetime | None:
        """When these people were last told of anything that waits for them."""
        latest = select(func.max(approval.c.told, type_=approval.c.told.type)).where(approval.c.audience == whom)
        async with self._store.read() as tx:
            told: datetime | None = (await tx.execute(latest)).scalar_one()
        return told

    async def expire_due(self) -> tuple[IncidentId, ...]:
        """Closes pending approvals whose time is over; returns the incidents that wait for them."""
        now = self._clock.now()
        async with self._store.write() as tx:
            due = await tx.execute(
                select(approval)
                .where(approval.c.state == ApprovalState.PENDING, approval.c.expires <= now)
                .order_by(approval.c.id)
                .limit(100)
                .with_for_update()
            )
            requests = [(row, ApprovalRequested.model_validate_json(row.body)) for row in due.all()]
            for row, requested in requests:
                await self._expire_one(tx, row, requested)
        return tuple(requested.incident for _, requested in requests)

    async def usable(self, plan_hash: str, now: datetime) -> ApprovalId | None:
        """An approval that the plan's first claim could use now."""
        query = select(approval.c.id).where(
            approval.c.plan_hash == plan_hash,
            approval.c.state == ApprovalState.APPROVED,
            approval.c.expires > now,
            approval.c.used_by.is_(None),
        )
        async with self._store.read() as tx:
            found = (await tx.execute(query.order_by(approval.c.id).limit(1))).scalar_one_or_none()
        return None if found is None else ApprovalId(found)

    async def get(self, approval_id: ApprovalId) -> Approval:
        async with self._store.read() as tx:
            row = (await tx.execute(select(approval).where(approval.c.id == approval_id))).one_or_none()
            if row is None:
                raise _unknown(approval_id)
            return await _whole(tx, row)

    async def pending(self, limit: int = 100) -> tuple[Approval, ...]:
        """What waits for people, oldest first. What nobody answered in time no longer waits, also before anybody has
        noticed: its incident may have gone another way since."""
        waits = (approval.c.state == ApprovalState.PENDING) & (approval.c.expires > self._clock.now())
        query = select(approval).where(waits).order_by(approval.c.id).limit(limit)
        async with self._store.read() as tx:
            return tuple([await _whole(tx, row) for row in (await tx.execute(query)).all()])

    async def of_incident(self, incident: IncidentId) -> tuple[Approval, ...]:
        query = select(approval).where(approval.c.incident == incident).order_by(approval.c.id)
        async with self._store.read() as tx:
            return tuple([await _whole(tx, row) for row in (await tx.execute(query)).all()])

    async def _count(
        self,
        tx: AsyncConnection,
        requested: ApprovalRequested,
        answer: ApprovalAnswer,
        by: Principal,
        via: str,
        comment: EvidenceRef | None,
    ) -> ApprovalState:
        data = _answered(requested, answer, by, via=via, comment=comment)
        await tx.execute(
            insert(approval_answer).values(
                approval=requested.approval, person=by.id, at=self._clock.now(), body=canonical_model(data)
            )
        )
        answers = await _answers(tx, requested.approval)
        now = standing(requested, await _reached(tx, requested.approval), answers)
        state = ApprovalState.PENDING if now is None else ApprovalState(now)
        if state is not ApprovalState.PENDING:
            await tx.execute(update(approval).where(approval.c.id == requested.approval).values(state=state))
        await self._append(tx, data)
        return state

    async def _expire_one(
        self, tx: AsyncConnection, row: Row[tuple[object, ...]], requested: ApprovalRequested
    ) -> ApprovalState:
        state = ApprovalState(row.state)
        if state is not ApprovalState.PENDING or self._clock.now() < requested.expires:
            return state
        await tx.execute(update(approval).where(approval.c.id == row.id).values(state=ApprovalState.EXPIRED))
        await self._append(tx, _answered(requested, ApprovalAnswer.EXPIRED, None))
        return ApprovalState.EXPIRED

    async def _append(self, tx: AsyncConnection, data: ApprovalAnswered) -> None:
        await self._ledger.append(tx, Draft(type=EntryType.APPROVAL_ANSWERED, subject=data.incident, data=data))


def audience(requested: ApprovalRequested) -> str:
    """Whom it asks first, in one word: requests with the same word wait for the same people."""
    return ",".join(sorted({role for term in requested.terms for role in term.roles}))


def _answered(
    requested: ApprovalRequested,
    answer: ApprovalAnswer,
    by: Principal | None,
    *,
    via: str = "",
    comment: EvidenceRef | None = None,
) -> ApprovalAnswered:
    return ApprovalAnswered(
        approval=requested.approval,
        incident=requested.incident,
        plan_hash=requested.plan_hash,
        answer=answer,
        by=by,
        comment=comment,
        via=via,
    )


async def _unused(tx: AsyncConnection, incident: IncidentId) -> tuple[ApprovalId, ...]:
    query = select(approval.c.id).where(
        approval.c.incident == incident,
        approval.c.state.in_((ApprovalState.PENDING, ApprovalState.APPROVED)),
        approval.c.used_by.is_(None),
    )
    return tuple(ApprovalId(each) for each in (await tx.execute(query.order_by(approval.c.id))).scalars())


async def _locked(tx: AsyncConnection, approval_id: ApprovalId) -> Row[tuple[object, ...]]:
    row = (await tx.execute(select(approval).where(approval.c.id == approval_id).with_for_update())).one_or_none()
    if row is None:
        raise _unknown(approval_id)
    return row


async def _answers(tx: AsyncConnection, approval_id: str) -> tuple[ApprovalAnswered, ...]:
    query = select(approval_answer.c.body).where(approval_answer.c.approval == approval_id)
    found = await tx.execute(query.order_by(approval_answer.c.at, approval_answer.c.person))
    return tuple(ApprovalAnswered.model_validate_json(row.body) for row in found)


async def _reached(tx: AsyncConnection, approval_id: str) -> tuple[ApprovalEscalated, ...]:
    query = select(approval_escalation.c.body).where(approval_escalation.c.approval == approval_id)
    found = await tx.execute(query.order_by(approval_escalation.c.term, approval_escalation.c.step))
    return tuple(ApprovalEscalated.model_validate_json(row.body) for row in found)


async def _whole(tx: AsyncConnection, row: Row[tuple[object, ...]]) -> Approval:
    return Approval(
        request=ApprovalRequested.model_validate_json(row.body),
        state=ApprovalState(row.state),
        answers=await _answers(tx, row.id),
        reached=await _reached(tx, row.id),
        asked=row.asked,
        told=row.told,
    )


def _other_plan(requested: ApprovalRequested) -> ConflictError:
    return ConflictError(
        f"{requested.approval} is about another plan than the one that was read",
        cause="the plan hash of the answer is not the one that was asked about",
        next_step=f"watchkeeper approvals show {requested.approval}",
    )


def _unknown(approval_id: str) -> NotFoundError:
    return NotFoundError(f"there is no approval {approval_id}", next_step="watchkeeper incidents")
