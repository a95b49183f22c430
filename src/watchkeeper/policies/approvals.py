"""Approvals: people's answers to one plan.

An approval binds one plan hash, once, until it expires (invariant 3). "Once" is one execution of the plan: the plan's
first claim marks the approval as used by it, and later claims of that same plan (its next steps, its release, its undo,
its re-application after a relapse, all within bounds the plan itself declares) ride on it, also after it has expired.
Any other plan, an edited one too, has another hash and is approved anew.
An answer counts only when a person with a required role gives it; each person counts once, and every term must reach
its quorum with distinct people. One rejection rejects. It does not authenticate: `Principal` says how that was done.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Row, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.clock import Clock
from watchkeeper.core.decisions import ApprovalTerms, DecisionRecord
from watchkeeper.core.entries import ApprovalAnswer, ApprovalAnswered, ApprovalRequested, Draft, EntryType
from watchkeeper.core.errors import ConflictError, ForbiddenError, NotFoundError, RefusedError
from watchkeeper.core.evidence import EvidenceRef
from watchkeeper.core.ids import ApprovalId, IncidentId, new_id
from watchkeeper.core.model import Contract
from watchkeeper.core.plans import Plan
from watchkeeper.core.principals import Principal, PrincipalKind, Role
from watchkeeper.ledger.append import Ledger
from watchkeeper.policies.tables import approval, approval_answer
from watchkeeper.store.engine import Store

DEFAULT_TERMS = (ApprovalTerms(node="core", roles=(Role.APPROVER,), quorum=1, ttl_s=1800),)
"""What a decision asks for when it requires an approval and no document says whose."""


class ApprovalState(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


class Approval(Contract):
    """`answers` are those given so far, by person."""

    request: ApprovalRequested
    state: ApprovalState
    answers: tuple[ApprovalAnswered, ...] = ()


def draft(plan: Plan, record: DecisionRecord, now: datetime, ttl_s: float) -> ApprovalRequested:
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
    )


class Approvals:
    def __init__(self, store: Store, ledger: Ledger, clock: Clock) -> None:
        self._store, self._ledger, self._clock = store, ledger, clock

    async def request(self, tx: AsyncConnection, requested: ApprovalRequested) -> ApprovalId:
        """Asks, in the caller's transaction."""
        values = {
            "id": requested.approval,
            "incident": requested.incident,
            "plan_hash": requested.plan_hash,
            "state": ApprovalState.PENDING,
            "expires": requested.expires,
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
    ) -> ApprovalState:
        """Records one person's answer and says what the approval has become."""
        if answer is ApprovalAnswer.EXPIRED:
            raise ForbiddenError("nobody answers `expired`; time does", next_step="watchkeeper approve or reject")
        try:
            async with self._store.write() as tx:
                row = await _locked(tx, approval_id)
                requested = ApprovalRequested.model_validate_json(row.body)
                may_answer(requested, by)
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
        """What waits for people, oldest first."""
        query = select(approval).where(approval.c.state == ApprovalState.PENDING).order_by(approval.c.id).limit(limit)
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
        data = ApprovalAnswered(
            approval=requested.approval,
            incident=requested.incident,
            plan_hash=requested.plan_hash,
            answer=answer,
            by=by,
            comment=comment,
            via=via,
        )
        await tx.execute(
            insert(approval_answer).values(
                approval=requested.approval, person=by.id, at=self._clock.now(), body=canonical_model(data)
            )
        )
        state = _standing(requested.terms, await _answers(tx, requested.approval))
        if state is not ApprovalState.PENDING:
            await tx.execute(update(approval).where(approval.c.id == requested.approval).values(state=state))
        await self._ledger.append(tx, Draft(type=EntryType.APPROVAL_ANSWERED, subject=requested.incident, data=data))
        return state

    async def _expire_one(
        self, tx: AsyncConnection, row: Row[tuple[object, ...]], requested: ApprovalRequested
    ) -> ApprovalState:
        state = ApprovalState(row.state)
        if state is not ApprovalState.PENDING or self._clock.now() < requested.expires:
            return state
        await tx.execute(update(approval).where(approval.c.id == row.id).values(state=ApprovalState.EXPIRED))
        data = ApprovalAnswered(
            approval=requested.approval,
            incident=requested.incident,
            plan_hash=requested.plan_hash,
            answer=ApprovalAnswer.EXPIRED,
            by=None,
        )
        await self._ledger.append(tx, Draft(type=EntryType.APPROVAL_ANSWERED, subject=requested.incident, data=data))
        return ApprovalState.EXPIRED


async def use(tx: AsyncConnection, approval_id: ApprovalId | None, plan: Plan, now: datetime) -> None:
    """In the claim's transaction: binds the approval to this plan, or refuses by name."""
    row = None
    if approval_id is not None:
        query = select(approval).where(approval.c.id == approval_id).with_for_update()
        row = (await tx.execute(query)).one_or_none()
    if row is None:
        raise _refused("the plan needs an approval and has none", "approval_missing")
    if row.plan_hash != plan.plan_hash:
        raise _refused(f"{row.id} approves another plan", "approval_other_plan")
    if row.state != ApprovalState.APPROVED:
        raise _refused(f"{row.id} is {row.state}", "approval_not_given")
    if row.used_by == plan.id:
        return
    if row.used_by is not None:
        raise _refused(f"{row.id} is used up", "approval_used")
    if row.expires <= now:
        raise _refused(f"{row.id} has expired", "approval_expired")
    await tx.execute(update(approval).where(approval.c.id == row.id).values(used_by=plan.id, used_at=now))


def _standing(terms: tuple[ApprovalTerms, ...], answers: tuple[ApprovalAnswered, ...]) -> ApprovalState:
    if any(given.answer is ApprovalAnswer.REJECTED for given in answers):
        return ApprovalState.REJECTED
    people = {given.by.id: given.by for given in answers if given.by is not None}
    for term in terms:
        if sum(_holds(person, term) for person in people.values()) < term.quorum:
            return ApprovalState.PENDING
    return ApprovalState.APPROVED


def _holds(person: Principal, term: ApprovalTerms) -> bool:
    return Role.ADMIN in person.roles or any(role in term.roles for role in person.roles)


def may_answer(requested: ApprovalRequested, by: Principal) -> None:
    """Raises ForbiddenError unless `by` is a person with a role that one of the terms names (invariant 3)."""
    if by.kind is not PrincipalKind.PERSON:
        raise ForbiddenError(
            f"{by.id} is not a person", cause="only people approve or reject", next_step="watchkeeper approve"
        )
    if not any(_holds(by, term) for term in requested.terms):
        wanted = sorted({role for term in requested.terms for role in term.roles})
        raise ForbiddenError(
            f"{by.id} may not answer {requested.approval}",
            cause=f"it takes one of the roles {', '.join(wanted)}",
            next_step="ask somebody who has the role",
        )


async def _locked(tx: AsyncConnection, approval_id: ApprovalId) -> Row[tuple[object, ...]]:
    row = (await tx.execute(select(approval).where(approval.c.id == approval_id).with_for_update())).one_or_none()
    if row is None:
        raise _unknown(approval_id)
    return row


async def _answers(tx: AsyncConnection, approval_id: str) -> tuple[ApprovalAnswered, ...]:
    query = select(approval_answer.c.body).where(approval_answer.c.approval == approval_id)
    found = await tx.execute(query.order_by(approval_answer.c.at, approval_answer.c.person))
    return tuple(ApprovalAnswered.model_validate_json(row.body) for row in found)


async def _whole(tx: AsyncConnection, row: Row[tuple[object, ...]]) -> Approval:
    return Approval(
        request=ApprovalRequested.model_validate_json(row.body),
        state=ApprovalState(row.state),
        answers=await _answers(tx, row.id),
    )


def _refused(what: str, reason: str) -> RefusedError:
    return RefusedError(
        what, reason=reason, cause="an approval binds one plan, once, in time", next_step="watchkeeper approve"
    )


def _unknown(approval_id: str) -> NotFoundError:
    return NotFoundError(f"there is no approval {approval_id}", next_step="watchkeeper incidents")
