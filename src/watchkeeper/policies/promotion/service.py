"""Promotion: evidence proposes it, a person makes it, for one action in one scope, and for the make that was judged.

Each word is one commit with its ledger entry. What takes authority away moves the epoch of the agent's scope in that
commit, as a stop does, so no claim holds that was decided before (invariant 2); people's own word waits for claims that
are committing. A rollback, or a lower bound that falls below the floor, takes a promotion back in the transaction that
records the outcome. It grants nothing by itself: policy says where a promotion counts (`requirePromotion`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.agents import StandingChanged, Why, Word, remediates
from watchkeeper.core.claims import EpochSeen
from watchkeeper.core.clock import Clock
from watchkeeper.core.decisions import Autonomy
from watchkeeper.core.entries import Draft, EntryType
from watchkeeper.core.errors import ConflictError, InputError
from watchkeeper.core.evidence import EvidenceRef
from watchkeeper.core.plans import Plan
from watchkeeper.core.principals import Principal, Role
from watchkeeper.core.trust import ROLLED_BACK, Credit, Origin, TrustOutcome
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.policies.promotion import history, rows
from watchkeeper.policies.promotion.history import Line
from watchkeeper.policies.revocation import epochs
from watchkeeper.policies.rows import hold_epochs
from watchkeeper.policies.trust.criteria import Criterion
from watchkeeper.policies.trust.key import TrustKey
from watchkeeper.policies.trust.service import Trust, keys_of
from watchkeeper.policies.trust.standing import Standing
from watchkeeper.policies.words import OURSELVES, kept_reason, must_be_a_person
from watchkeeper.store.engine import Priority, Store

PROMOTABLE = (Autonomy.BOUNDED, Autonomy.FULL)


class Promotions:
    def __init__(self, store: Store, ledger: Ledger, clock: Clock, evidence: Evidence, trust: Trust) -> None:
        self._store, self._ledger, self._clock = store, ledger, clock
        self._evidence, self._trust = evidence, trust

    async def promote(
        self, key: TrustKey, autonomy: Autonomy, by: Principal, reason: str, after: int | None = None
    ) -> StandingChanged:
        """`after`: the number of the newest line of the agent's history that the person knows of (0: of none); a
        request that is sent again, or that somebody's word overtook, says nothing new. Raises ForbiddenError for who is
        no person or may not; ConflictError for such a request, and naming what the evidence lacks."""
        must_be_a_person(by, "promote", "an agent", Role.OPERATOR)
        if autonomy not in PROMOTABLE or not remediates(key.agent):
            raise InputError(
                f"{key.agent} cannot be promoted to {autonomy}",
                cause="a remediator acts alone when it is promoted to bounded or full; nobody else acts",
                next_step="watchkeeper agents promote remediator/NAME RUNBOOK/INTENT ENVIRONMENT/SERVICE -m WHY",
            )
        async with self._store.write() as tx:
            await hold_epochs(tx, (_scope(key.agent),), by.id, self._clock.now())  # whoever records a failure waits
            newest = await history.newest(tx, key.agent)
            if after is not None and after != newest:
                raise _overtaken(key, after, newest)
            known = await self._trust.standing_in(tx, key)
            if known.missing:
                raise _not_earned(key, known.missing)
            return await self._say(
                tx,
                StandingChanged(
                    word=Word.PROMOTED,
                    **_about(key),
                    autonomy=autonomy,
                    previous=await rows.promoted(tx, key),
                    by=by,
                    why=Why.PERSON,
                    reason=await kept_reason(tx, self._evidence, reason),
                    outcomes=known.verified.successes + known.verified.failures,
                    lower_bound=known.lower_bound,
                    at=self._clock.now(),
                ),
            )

    async def demote(self, key: TrustKey, by: Principal, reason: str) -> tuple[StandingChanged, ...]:
        """At once, and for every make: an older one that comes back comes back without. Raises ConflictError where
        there is nothing to take back."""
        must_be_a_person(by, "demote", "an agent", Role.OPERATOR)
        async with self._store.write(Priority.STOP) as tx:
            await self._store.gate_exclusive(tx)
            await hold_epochs(tx, (_scope(key.agent),), by.id, self._clock.now())
            held = await rows.of_every_make(tx, key)
            if not held:
                raise ConflictError(
                    f"{key.agent} is not promoted for {key.runbook}/{key.intent} in {key.scope}",
                    cause="it never was, or it was taken back",
                    next_step=f"watchkeeper agents show {key.agent}",
                )
            why = await kept_reason(tx, self._evidence, reason)
            return tuple([await self._take_back(tx, each, by, Why.PERSON, why) for each in held])

    async def set_ceiling(self, agent: str, ceiling: Autonomy, by: Principal, reason: str) -> StandingChanged:
        """How far the agent may ever go, whatever policy says. A lower one holds for every claim from now on."""
        must_be_a_person(by, "set a ceiling", "an agent", Role.OPERATOR)
        async with self._store.write(Priority.STOP) as tx:
            await self._store.gate_exclusive(tx)
            previous = await rows.ceiling(tx, agent) or Autonomy.FULL
            lower = ceiling.rank < previous.rank
            said = StandingChanged(
                word=Word.CEILING,
                agent=agent,
                autonomy=ceiling,
                previous=previous,
                by=by,
                why=Why.PERSON,
                reason=await kept_reason(tx, self._evidence, reason),
                epoch=await self._moved(tx, agent, by) if lower else None,
                at=self._clock.now(),
            )
            return await self._say(tx, said)

    async def scored(self, tx: AsyncConnection, outcomes: Sequence[TrustOutcome]) -> None:
        """Failures that were just recorded, in their transaction: what no longer deserves its promotion loses it, also
        in other scopes, which borrow from this one."""
        failed = [each for each in outcomes if each.credit is Credit.FAILURE and each.origin is not Origin.SHADOW]
        failed = [each for each in failed if remediates(each.agent)]
        if not failed:
            return
        scopes = (_scope(each.agent) for each in failed)
        await hold_epochs(tx, scopes, OURSELVES.id, self._clock.now())  # whoever promotes meanwhile waits for us
        for outcome in failed:
            for said in await rows.in_every_scope(tx, _key_of(outcome)):
                await self._still_deserved(tx, said, outcome)

    async def _still_deserved(self, tx: AsyncConnection, said: StandingChanged, outcome: TrustOutcome) -> None:
        if said.scope == outcome.scope and outcome.grounds in ROLLED_BACK:
            await self._take_back(tx, said, OURSELVES, Why.ROLLED_BACK, None)
            return
        known = await self._trust.standing_in(tx, _key_of(said))
        if known.lower_bound is None or known.lower_bound < self._trust.terms.floor:
            await self._take_back(tx, said, OURSELVES, Why.BELOW_FLOOR, None, known)

    async def ceiling_of(self, agents: Iterable[str]) -> Autonomy:
        """The lowest of theirs: what is done goes no further than any who had a part in it may."""
        async with self._store.read() as tx:
            found = [await rows.ceiling(tx, agent) for agent in agents]
        return min((each for each in found if each is not None), key=lambda each: each.rank, default=Autonomy.FULL)

    async def promoted_for(self, plan: Plan) -> Autonomy | None:
        """For every action of the plan, with the make that made it; the least of them."""
        async with self._store.read() as tx:
            found = [await rows.promoted(tx, key) for key in keys_of(plan)]
        least: Autonomy | None = None
        for each in found:
            if each is None:
                return None
            least = each if least is None or each.rank < least.rank else least
        return least

    async def standing_now(self, agents: tuple[str, ...]) -> list[StandingChanged]:
        """The promotions that were not taken back."""
        async with self._store.read() as tx:
            return await rows.promotions(tx, agents)

    async def newest(self, agent: str) -> int:
        """The number of the newest line of its history; 0: there is none."""
        async with self._store.read() as tx:
            return await history.newest(tx, agent)

    async def history(self, agent: str, limit: int, before: int | None = None) -> list[Line]:
        return await history.lines(self._store, self._evidence, agent, limit, before)

    async def _take_back(
        self,
        tx: AsyncConnection,
        held: StandingChanged,
        by: Principal,
        why: Why,
        reason: EvidenceRef | None,
        known: Standing | None = None,
    ) -> StandingChanged:
        said = StandingChanged(
            word=Word.DEMOTED,
            **_about(_key_of(held)),
            autonomy=None,
            previous=held.autonomy,
            by=by,
            why=why,
            reason=reason,
            epoch=await self._moved(tx, held.agent, by),
            lower_bound=None if known is None else known.lower_bound,
            at=self._clock.now(),
        )
        return await self._say(tx, said)

    async def _moved(self, tx: AsyncConnection, agent: str, by: Principal) -> EpochSeen:
        return await epochs.moved(tx, _scope(agent), by, self._clock.now())

    async def _say(self, tx: AsyncConnection, said: StandingChanged) -> StandingChanged:
        await rows.add(tx, said)
        draft = Draft(type=EntryType.AGENT_STANDING, subject=_scope(said.agent), data=said)
        await self._ledger.append(tx, draft)
        return said


def _scope(agent: str) -> str:
    return f"agent:{agent}"


def _about(key: TrustKey) -> dict[str, object]:
    return dict(key)


def _key_of(said: TrustOutcome | StandingChanged) -> TrustKey:
    """Of a ceiling, which is about no action, it cannot be asked."""
    return TrustKey.model_validate({name: getattr(said, name) for name in TrustKey.model_fields})


def _overtaken(key: TrustKey, after: int, newest: int) -> ConflictError:
    return ConflictError(
        f"more was said of {key.agent} than the person knew who promotes it",
        cause=f"the newest line of its history is {newest}, not {after}: the request was sent twice, or overtaken",
        next_step=f"watchkeeper agents history {key.agent}, and promote again",
    )


def _not_earned(key: TrustKey, missing: tuple[Criterion, ...]) -> ConflictError:
    named = ", ".join(each.name for each in missing)
    return ConflictError(
        f"{key.agent} has not earned {key.runbook}/{key.intent} in {key.scope}: {named} not met",
        cause="promotion takes evidence of this make of the agent, in this scope",
        next_step=f"watchkeeper trust {key.agent}",
    )
