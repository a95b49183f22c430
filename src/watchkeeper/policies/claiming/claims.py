"""Claims: the right to send one effect, taken in one transaction (invariants 1, 2 and 4).

The commit of `take` permits the effect until `not_after`; `still_valid` reads deadline and epochs again right before
the send. One key has one row for ever: who asks again gets the recorded outcome, or waits, or, when the holder's time
is over, takes the claim over with a greater fence and MUST observe the target before anything is sent. Giving back
(release, undo) needs neither a breach nor the policy version of the decision, since what the plan changed is owed back;
a stop freezes it all the same.
It does not send anything, and it cannot stop a holder that was frozen between its last check and the send.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Row, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.claims import MAX_CLAIM_S, Claim, EffectPhase
from watchkeeper.core.clock import Clock
from watchkeeper.core.entries import ClaimRefused, Draft, EntryType
from watchkeeper.core.errors import ConflictError, NotFoundError, RefusedError
from watchkeeper.core.ids import ActionKey, ClaimId, IncidentId, new_id
from watchkeeper.core.outcomes import Effect, EffectOutcome
from watchkeeper.ledger.append import Ledger
from watchkeeper.policies import rows
from watchkeeper.policies.claiming.checks import (
    ActivePolicy,
    ClaimRequest,
    Refusal,
    action_key,
    authorise,
    granted,
    not_forbidden,
    refused,
)
from watchkeeper.policies.claiming.counted import line_up
from watchkeeper.policies.revocation import stops
from watchkeeper.policies.tables import claim_refused, effect_claim, owned_field
from watchkeeper.store.engine import Priority, Store

__all__ = ["Busy", "ClaimRequest", "Claims", "Refusal", "Settled", "Taken", "action_key"]

GRACE_S = 5.0
"""How long after `not_after` a call may still be on its way before another may take the claim over."""


Also = Callable[[AsyncConnection, EffectOutcome], Awaitable[None]]
"""What else becomes true when an effect is settled, written in the same transaction."""


@dataclass(frozen=True)
class Taken:
    """The claim is ours. `fresh`: nothing was ever sent under it. Otherwise observe first; and send, if the target
    says it did not happen, only while `still_valid`. `refusal` names the gate that allows to observe, not to send."""

    claim: Claim
    fresh: bool
    refusal: str = ""


@dataclass(frozen=True)
class Busy:
    """Another holder may be sending until then."""

    until: datetime


@dataclass(frozen=True)
class Settled:
    outcome: EffectOutcome


class Claims:
    def __init__(
        self, store: Store, ledger: Ledger, clock: Clock, active: ActivePolicy, grace_s: float = GRACE_S
    ) -> None:
        self._store, self._ledger, self._clock, self._active = store, ledger, clock, active
        self._grace = timedelta(seconds=grace_s)

    async def take(self, request: ClaimRequest) -> Taken | Busy | Settled:
        """Raises `RefusedError` when a gate says no and nothing was claimed before. The refusal is recorded first, once
        for as long as its reason stays the same."""
        try:
            async with self._store.write(Priority.CLAIM) as tx:
                in_line = request.phase is EffectPhase.APPLY and await self._line_up(tx, request)
                await self._store.gate_shared(tx)
                row = await _locked(tx, request.key)
                if row is not None:
                    return self._known(row) or await self._retake(tx, row, request, in_line=in_line)
                forbidden = await self._forbidden(tx, request)
                if forbidden is None:
                    return await self._first(tx, request, in_line=in_line)
        except RefusedError as refusal:
            async with self._store.write(Priority.CLAIM) as tx:
                await self._record_refusal(tx, request, refusal)
            raise
        raise forbidden

    async def _line_up(self, tx: AsyncConnection, request: ClaimRequest) -> bool:
        policy = await self._active(tx, request.record.decision.policy_version)
        return await line_up(tx, policy, request.record)

    async def _forbidden(self, tx: AsyncConnection, request: ClaimRequest) -> RefusedError | None:
        """What forbids it before anything is written is recorded in the same turn: a stop's first refusal waits for no
        other claim."""
        try:
            await not_forbidden(tx, request, self._clock.now())
        except RefusedError as refusal:
            await self._record_refusal(tx, request, refusal)
            return refusal
        return None

    async def takeover(self, key: ActionKey, holder: str) -> Taken | Busy | Settled:
        """Takes an unsettled claim over to observe and settle it; nothing may be sent under it."""
        async with self._store.write(Priority.CLAIM) as tx:
            row = await _locked(tx, key)
            if row is None:
                raise NotFoundError(f"nothing was claimed as {key}", next_step="watchkeeper incidents")
            known = self._known(row)
            if known is not None:
                return known
            old, now = Claim.model_validate_json(row.body), self._clock.now()
            claim = old.model_copy(update={"holder": holder, "fence": old.fence + 1, "taken": now, "not_after": now})
            await _replace(tx, claim)
            return Taken(claim, fresh=False, refusal="observe_only")

    async def still_valid(self, claim: Claim) -> bool:
        """Read right before the send: in time, still ours, no scope stopped or moved."""
        query = select(effect_claim.c.fence, effect_claim.c.state).where(effect_claim.c.key == claim.key)
        async with self._store.read() as tx:
            row = (await tx.execute(query)).one_or_none()
            ours = row is not None and row.fence == claim.fence and row.state == rows.OPEN
            passes = await stops.passes(tx, claim.order, claim.plan, claim.step)
            moved = await rows.stopped_or_moved(tx, claim.epochs, lock=False, passes=passes)
        return ours and moved is None and self._clock.now() < claim.not_after

    async def settle(self, claim: Claim, effect: Effect, code: str, also: Also | None = None) -> EffectOutcome:
        """Records what became of it, and what follows from it. `unknown` leaves the claim open until `observe` has
        answered; said again with the same code it is no news, and nothing is recorded.

        Raises `ConflictError` if the claim was taken over or settled meanwhile.
        """
        outcome = EffectOutcome(
            claim=claim.id, key=claim.key, fence=claim.fence, effect=effect, code=code, at=self._clock.now()
        )
        changed = (
            update(effect_claim)
            .where(
                effect_claim.c.key == claim.key,
                effect_claim.c.fence == claim.fence,
                effect_claim.c.state.in_(rows.UNSETTLED),
            )
            .values(state=effect.value, outcome=canonical_model(outcome))
        )
        async with self._store.write(Priority.CLAIM) as tx:
            before = await _locked(tx, claim.key)
            if effect is Effect.FAILED:  # it may cost the agent its promotion, which claims wait for
                # before the row changes: a claim on the same target that holds the epochs would wait for that, and we
                # for the epochs
                agents = (epoch.scope for epoch in claim.epochs if epoch.scope.startswith("agent:"))
                await rows.hold_epochs(tx, agents, claim.holder, self._clock.now())
            if (await tx.execute(changed)).rowcount != 1:
                raise ConflictError(
                    f"{claim.key} is no longer ours to settle",
                    cause="it was taken over or settled while this process was slow",
                    next_step="nothing: the new holder observes it",
                )
            if effect is Effect.FAILED and claim.phase is EffectPhase.APPLY:
                await _free_reserved_fields(tx, claim)
            if effect is Effect.UNKNOWN and _known_to_be_unknown(before, code):
                return outcome
            await self._ledger.append(tx, Draft(type=EntryType.EFFECT, subject=claim.incident, data=outcome))
            if also is not None:
                await also(tx, outcome)
        return outcome

    async def forget_refusals(self, tx: AsyncConnection, incident: IncidentId) -> None:
        """Of an incident that asks for nothing any more; what was refused stays in the ledger."""
        await tx.execute(delete(claim_refused).where(claim_refused.c.incident == incident))

    async def unsettled(self, tx: AsyncConnection, incident: IncidentId) -> bool:
        """Whether an effect of the incident may still land or is not known."""
        query = select(effect_claim.c.key).where(
            effect_claim.c.incident == incident, effect_claim.c.state.in_(rows.UNSETTLED)
        )
        return (await tx.execute(query.limit(1))).first() is not None

    async def incidents_unsettled(self, tx: AsyncConnection) -> frozenset[str]:
        """Of which incidents an effect may still land or is not known."""
        query = select(effect_claim.c.incident).where(effect_claim.c.state.in_(rows.UNSETTLED))
        return frozenset((await tx.execute(query.distinct())).scalars())

    async def open_claims(self) -> tuple[Claim, ...]:
        """Every claim that is not settled: in flight, unknown, or left behind by a crash."""
        return await self.in_flight("all")

    async def in_flight(self, scope: str) -> tuple[Claim, ...]:
        """The unsettled claims of one authority scope."""
        async with self._store.read() as tx:
            return await rows.unsettled(tx, scope)

    async def outcome(self, key: ActionKey) -> EffectOutcome | None:
        """What was last recorded for the key, `unknown` included; None before that."""
        query = select(effect_claim.c.outcome).where(effect_claim.c.key == key)
        async with self._store.read() as tx:
            body = (await tx.execute(query)).scalar_one_or_none()
        return None if body is None else EffectOutcome.model_validate_json(body)

    async def _first(self, tx: AsyncConnection, request: ClaimRequest, *, in_line: bool) -> Taken | Busy | Settled:
        now = self._clock.now()
        await granted(tx, request, self._active, now, in_line=in_line)
        await tx.execute(delete(claim_refused).where(claim_refused.c.key == request.key))
        claim = _claim(request, ClaimId(new_id("clm", now)), fence=1, now=now)
        plan = request.plan
        values = {
            "key": claim.key,
            "id": claim.id,
            "incident": claim.incident,
            "plan": claim.plan,
            "step": claim.step,
            "phase": claim.phase.value,
            "runbook": plan.runbook.name,
            "environment": plan.scope.environment,
            "service": plan.scope.service,
            "target": str(request.action.target),
            "fence": claim.fence,
            "state": rows.OPEN,
            "taken": claim.taken,
            "not_after": claim.not_after,
            "body": canonical_model(claim),
        }
        row = rows.insert_or_ignore(tx)(effect_claim).values(values).on_conflict_do_nothing()
        if (await tx.execute(row.returning(effect_claim.c.key))).first() is not None:
            await self._ledger.append(tx, Draft(type=EntryType.CLAIM, subject=claim.incident, data=claim))
            return Taken(claim, fresh=True)
        rival = await _locked(tx, request.key)
        if rival is not None:
            return self._known(rival) or Busy(now)
        raise refused(
            f"another effect on {request.action.target} is not settled yet",
            Refusal.TARGET_BUSY,
            cause="one effect at a time on one target",
        )

    def _known(self, row: Row[tuple[object, ...]]) -> Busy | Settled | None:
        if row.state not in rows.UNSETTLED:
            return Settled(EffectOutcome.model_validate_json(row.outcome))
        until: datetime = row.not_after + self._grace
        return Busy(until) if self._clock.now() < until else None

    async def _retake(
        self, tx: AsyncConnection, row: Row[tuple[object, ...]], request: ClaimRequest, *, in_line: bool
    ) -> Taken:
        """Our turn with a claim that its holder left. All gates again: if one says no, we may look but not send."""
        now, refusal = self._clock.now(), None
        try:
            async with tx.begin_nested():
                await authorise(tx, request, self._active, now, in_line=in_line)
        except RefusedError as error:
            refusal = error
        claim = _claim(request, ClaimId(row.id), fence=row.fence + 1, now=now)
        if refusal is not None:
            claim = claim.model_copy(update={"not_after": now})
        await _replace(tx, claim)
        if refusal is None:
            await tx.execute(delete(claim_refused).where(claim_refused.c.key == request.key))
            await self._ledger.append(tx, Draft(type=EntryType.CLAIM, subject=claim.incident, data=claim))
            return Taken(claim, fresh=False)
        await self._record_refusal(tx, request, refusal)
        return Taken(claim, fresh=False, refusal=refusal.reason)

    async def _record_refusal(self, tx: AsyncConnection, request: ClaimRequest, refusal: RefusedError) -> None:
        data = ClaimRefused(
            key=request.key,
            incident=request.plan.incident,
            plan_hash=request.plan.plan_hash,
            reason=refusal.reason,
        )
        told = {"plan_hash": data.plan_hash, "reason": data.reason}
        into = rows.insert_or_ignore(tx)(claim_refused).values(key=data.key, incident=data.incident, **told)
        differs = (claim_refused.c.plan_hash != data.plan_hash) | (claim_refused.c.reason != data.reason)
        news = into.on_conflict_do_update(index_elements=["key"], set_=told, where=differs)
        if (await tx.execute(news.returning(claim_refused.c.key))).first() is None:
            return
        await self._ledger.append(tx, Draft(type=EntryType.CLAIM_REFUSED, subject=data.incident, data=data))


def _known_to_be_unknown(row: Row[tuple[object, ...]] | None, code: str) -> bool:
    if row is None or row.outcome is None:
        return False
    known = EffectOutcome.model_validate_json(row.outcome)
    return known.effect is Effect.UNKNOWN and known.code == code


def _claim(request: ClaimRequest, claim_id: ClaimId, *, fence: int, now: datetime) -> Claim:
    return Claim(
        id=claim_id,
        key=request.key,
        incident=request.plan.incident,
        plan=request.plan.id,
        plan_hash=request.plan.plan_hash,
        step=request.step,
        phase=request.phase,
        decision=request.record.id,
        approval=request.approval,
        policy_version=request.record.decision.policy_version,
        epochs=request.epochs,
        holder=request.holder,
        fence=fence,
        taken=now,
        order=request.order,
        not_after=now + timedelta(seconds=min(request.valid_s, MAX_CLAIM_S)),
    )


async def _locked(tx: AsyncConnection, key: ActionKey) -> Row[tuple[object, ...]] | None:
    query = select(effect_claim).where(effect_claim.c.key == key).with_for_update()
    return (await tx.execute(query)).one_or_none()


async def _replace(tx: AsyncConnection, claim: Claim) -> None:
    """Under the row's lock: the new holder's claim instead of the old one's. An unknown outcome stays on record."""
    values = {
        "fence": claim.fence,
        "taken": claim.taken,
        "not_after": claim.not_after,
        "state": rows.OPEN,
        "body": canonical_model(claim),
    }
    await tx.execute(update(effect_claim).where(effect_claim.c.key == claim.key).values(values))


async def _free_reserved_fields(tx: AsyncConnection, claim: Claim) -> None:
    """The effect did not happen: fields that no remedy holds are anybody's again."""
    await tx.execute(
        delete(owned_field).where(
            owned_field.c.plan == claim.plan, owned_field.c.step == claim.step, owned_field.c.remedy.is_(None)
        )
    )
