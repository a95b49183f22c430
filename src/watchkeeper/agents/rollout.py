"""The rollout of a service: a person moves it up on evidence, a person or what became of a plan moves it down.

Each move is one commit with its ledger entry. A move down moves the epoch of the service's scope in that commit, as a
stop does, so no claim holds that was decided in the higher phase (invariant 2). A rollback or an unsafe outcome makes
it in the transaction that records the outcome, once for each plan, and leaves people word in the outbox. No phase gives
authority: policy says what counts in which. It cannot see an effect that nobody recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.agents.outbox import Notice, Outbox
from watchkeeper.agents.tables import incident as incidents
from watchkeeper.agents.track import services, track
from watchkeeper.core.clock import Clock
from watchkeeper.core.entries import Draft, EntryType
from watchkeeper.core.errors import ConflictError, NotFoundError
from watchkeeper.core.ids import IncidentId
from watchkeeper.core.model import Contract, Instant
from watchkeeper.core.phases import Phase
from watchkeeper.core.principals import Principal, Role
from watchkeeper.core.rollout import RolloutAdvanced, RolloutCriterion, RolloutJudged, RolloutSetBack, WhySetBack
from watchkeeper.core.subjects import Scope
from watchkeeper.core.trust import ROLLED_BACK as ROLLED_BACK_GROUNDS
from watchkeeper.core.trust import Credit, Grounds, Origin, TrustOutcome
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.policies.revocation import epochs
from watchkeeper.policies.rollout import rows
from watchkeeper.policies.rollout.criteria import criteria, missing
from watchkeeper.policies.rollout.terms import RolloutTerms
from watchkeeper.policies.rows import hold_epochs
from watchkeeper.policies.words import OURSELVES, kept_reason, must_be_a_person
from watchkeeper.store.engine import Priority, Store

_ENTRIES = {
    rows.Word.ADVANCED: EntryType.ROLLOUT_ADVANCED,
    rows.Word.SET_BACK: EntryType.ROLLOUT_SET_BACK,
    rows.Word.JUDGED: EntryType.ROLLOUT_JUDGED,
}


class Rollout(Contract):
    """Where one service stands. `since` and `by` None: nobody ever moved it. `next` None: there is no further phase,
    and nothing is asked."""

    scope: Scope
    phase: Phase
    since: Instant | None
    by: str | None
    next: Phase | None
    criteria: tuple[RolloutCriterion, ...]
    missing: tuple[RolloutCriterion, ...]


@dataclass(frozen=True)
class Rollouts:
    store: Store
    ledger: Ledger
    clock: Clock
    evidence: Evidence
    outbox: Outbox
    terms: RolloutTerms
    configured: tuple[Scope, ...] = ()

    async def all(self) -> list[Rollout]:
        """Of every service that is configured, was moved, or had an incident."""
        async with self.store.read() as tx:
            return [await self._of(tx, scope) for scope in await services(tx, self.configured)]

    async def of(self, scope: Scope) -> Rollout:
        """Raises NotFoundError for a service that is not known by anything."""
        async with self.store.read() as tx:
            await self._known(tx, scope)
            return await self._of(tx, scope)

    async def history(self, scope: Scope, limit: int, before: int | None = None) -> list[tuple[int, rows.Said]]:
        async with self.store.read() as tx:
            return await rows.history(tx, scope, limit, before)

    async def advance(self, scope: Scope, by: Principal, reason: str) -> RolloutAdvanced:
        """One phase up. Raises ForbiddenError for who is no person or may not; ConflictError naming what the evidence
        lacks."""
        must_be_a_person(by, "advance a rollout", "a service", Role.OPERATOR)
        async with self.store.write() as tx:
            await self._known(tx, scope)
            await hold_epochs(tx, (_scope(scope),), by.id, self.clock.now())
            stands = await self._of(tx, scope)
            if stands.next is None:
                raise ConflictError(
                    f"{scope} is in {stands.phase}, the last phase", next_step="watchkeeper rollout list"
                )
            if stands.missing:
                raise _not_earned(stands, stands.next)
            said = RolloutAdvanced(
                scope=scope,
                phase=stands.next,
                previous=stands.phase,
                by=by,
                reason=await kept_reason(tx, self.evidence, reason),
                evidence=stands.criteria,
                at=self.clock.now(),
            )
            await self._say(tx, said)
            return said

    async def set_back(self, scope: Scope, by: Principal, reason: str) -> RolloutSetBack:
        """One phase down, at once. Raises ConflictError in triage."""
        must_be_a_person(by, "set a rollout back", "a service", Role.OPERATOR)
        async with self.store.write(Priority.STOP) as tx:
            await self.store.gate_exclusive(tx)
            await hold_epochs(tx, (_scope(scope),), by.id, self.clock.now())
            phase = await rows.phase(tx, scope)
            lower = phase.preceding
            if lower is None:
                raise ConflictError(
                    f"{scope} is in {phase}, the first phase",
                    cause="nothing is below it but a stop",
                    next_step=f"watchkeeper stop {_scope(scope)}",
                )
            said = RolloutSetBack(
                scope=scope,
                phase=lower,
                previous=phase,
                by=by,
                why=WhySetBack.PERSON,
                reason=await kept_reason(tx, self.evidence, reason),
                epoch=await epochs.moved(tx, _scope(scope), by, self.clock.now()),
                at=self.clock.now(),
            )
            await self._say(tx, said)
            return said

    async def judge(self, incident: IncidentId, by: Principal, reason: str, *, right: bool) -> RolloutJudged:
        """A person's word on what was found and proposed. The last one about an incident counts."""
        must_be_a_person(by, "judge an incident", "a service", Role.APPROVER, Role.OPERATOR)
        async with self.store.write() as tx:
            row = (await tx.execute(select(incidents).where(incidents.c.id == incident))).one_or_none()
            if row is None:
                raise NotFoundError(f"there is no incident {incident}", next_step="watchkeeper incidents --all")
            said = RolloutJudged(
                scope=Scope(environment=row.environment, service=row.service),
                incident=incident,
                right=right,
                by=by,
                reason=await kept_reason(tx, self.evidence, reason),
                at=self.clock.now(),
            )
            await self._say(tx, said)
            return said

    async def scored(self, tx: AsyncConnection, outcomes: Sequence[TrustOutcome]) -> None:
        """Outcomes that were just recorded, in their transaction: what was rolled back or unsafe sets its service back.
        A plan of several steps, or one that was undone after it did harm, costs one phase and no more."""
        for outcome in outcomes:
            if sets_back(outcome):
                await self._set_back_for(tx, outcome)

    async def _set_back_for(self, tx: AsyncConnection, outcome: TrustOutcome) -> None:
        phase = await rows.phase(tx, outcome.scope)
        lower = phase.preceding
        if lower is None or await rows.was_set_back(tx, outcome.scope, outcome.plan):
            return
        said = RolloutSetBack(
            scope=outcome.scope,
            phase=lower,
            previous=phase,
            by=OURSELVES,
            why=WhySetBack.UNSAFE if outcome.grounds is Grounds.UNSAFE else WhySetBack.ROLLED_BACK,
            incident=outcome.incident,
            plan=outcome.plan,
            epoch=await epochs.moved(tx, _scope(outcome.scope), OURSELVES, self.clock.now()),
            at=self.clock.now(),
        )
        await self.outbox.put(tx, await _notice(tx, said, outcome.incident))
        await self._say(tx, said)

    async def _of(self, tx: AsyncConnection, scope: Scope) -> Rollout:
        last = await rows.move(tx, scope)
        phase = Phase.TRIAGE if last is None else last.phase
        following = phase.following
        asked: tuple[RolloutCriterion, ...] = ()
        if following is not None:
            since = None if last is None else last.at
            seen = await track(tx, scope, since, self.clock.now(), self.terms.window_days)
            asked = criteria(seen, self.terms.of(following))
        return Rollout(
            scope=scope,
            phase=phase,
            since=None if last is None else last.at,
            by=None if last is None else last.by.id,
            next=following,
            criteria=asked,
            missing=missing(asked),
        )

    async def _known(self, tx: AsyncConnection, scope: Scope) -> None:
        if scope not in await services(tx, self.configured):
            raise NotFoundError(
                f"there is no service {scope}",
                cause="it is not in the settings, and nothing was ever seen of it",
                next_step="watchkeeper rollout list",
            )

    async def _say(self, tx: AsyncConnection, said: rows.Said) -> None:
        await rows.add(tx, said)
        draft = Draft(type=_ENTRIES[rows.word_of(said)], subject=_subject(said), data=said)
        await self.ledger.append(tx, draft)


def sets_back(outcome: TrustOutcome) -> bool:
    """Whether this end of a plan costs its service a phase, whoever let it be done."""
    failed = outcome.credit is Credit.FAILURE and outcome.origin is not Origin.SHADOW
    return failed and outcome.grounds in ROLLED_BACK_GROUNDS


async def _notice(tx: AsyncConnection, said: RolloutSetBack, incident: IncidentId) -> Notice:
    row = (await tx.execute(select(incidents).where(incidents.c.id == incident))).one_or_none()
    return Notice(
        incident=incident,
        kind="rollout_set_back",
        reason=f"{said.why}_to_{said.phase}",
        service=said.scope.service,
        environment=said.scope.environment,
        mode="" if row is None else row.mode,
        subject="" if row is None else row.subject,
        at=said.at,
        commands=(f"watchkeeper rollout show {said.scope}", f"watchkeeper ledger show {incident}"),
    )


def _scope(scope: Scope) -> str:
    return f"service:{scope}"


def _subject(said: rows.Said) -> str:
    """What an incident is the reason for belongs to its story."""
    return getattr(said, "incident", None) or _scope(said.scope)


def _not_earned(stands: Rollout, following: Phase) -> ConflictError:
    lacks = ", ".join(
        f"{each.name} {'unknown' if each.observed is None else f'{each.observed:.4g}'} (asked: {each.required:g})"
        for each in stands.missing
    )
    return ConflictError(
        f"{stands.scope} is not ready for {following}: {lacks}",
        cause="a phase takes evidence of the one before it",
        next_step=f"watchkeeper rollout show {stands.scope}",
    )
