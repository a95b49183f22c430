"""The executor: "make sure that this effect is done", once, under a claim.

Claim → (after a crash: observe first) → look → request recorded → epochs and deadline read again → send → settle. What
follows from the settled effect, our own change event among it, is written in the transaction that settles it. A send
whose result is not known is observed; what cannot be observed stays unknown and open, and is never sent again before
that (invariant 4).
It does not decide whether an action should be done: the claim's transaction does.
An owner frozen between its last check and the send can still act late: only a precondition at the target closes that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.adapters.contract import Adapter, Happened, Registry
from watchkeeper.adapters.recorder import under
from watchkeeper.core.actions import Change
from watchkeeper.core.claims import Claim
from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import AdapterError, UnavailableError
from watchkeeper.core.ids import ActionKey
from watchkeeper.core.outcomes import Effect, EffectOutcome
from watchkeeper.core.signals import Signal
from watchkeeper.policies.claiming.checks import refused
from watchkeeper.policies.claiming.claims import Also, Busy, ClaimRequest, Claims, Refusal, Settled, Taken
from watchkeeper.signals.changes import own_effect

log = structlog.get_logger(__name__)

OBSERVE_TRIES = 3
OBSERVE_PAUSE_S = 0.5


class MayAct(Protocol):
    """The daemon's own health."""

    @property
    def acting(self) -> bool: ...
    @property
    def why(self) -> str: ...


class ChangeSink(Protocol):
    """Where every effect of ours becomes a change event (invariant 12)."""

    async def put(self, tx: AsyncConnection, signal: Signal) -> int: ...
    async def ring(self, offset: int) -> None: ...


Ask = Callable[[], Awaitable[ClaimRequest]]


class Executor:
    def __init__(self, claims: Claims, adapters: Registry, clock: Clock, health: MayAct, intake: ChangeSink) -> None:
        self._claims, self._adapters, self._clock = claims, adapters, clock
        self._health, self._intake = health, intake

    async def ensure(self, ask: Ask, change: Change, also: Also | None = None) -> EffectOutcome:
        """Does the effect of `change` once under the request's key, or tells what became of it before. `also` is
        written with its end. `ask` makes the request, anew after a wait: what it read of the world is old by then.

        Raises RefusedError when a gate of the claim says no, AdapterError(retryable) never: what was not sent is
        settled as failed, what may have been sent as unknown.
        """
        while True:
            self._must_be_trusted()
            taken = await self._claims.take(await ask())
            match taken:
                case Settled(outcome=outcome):
                    return outcome
                case Busy(until=until):
                    await self._sleep_until(until)
                case Taken():
                    return await self._act(taken, change, also)

    async def reconcile(
        self, key: ActionKey, change: Change, holder: str, also: Also | None = None
    ) -> EffectOutcome | None:
        """Looks at an effect that was left open, and settles it; sends nothing. None while its holder may be at it."""
        match await self._claims.takeover(key, holder):
            case Settled(outcome=outcome):
                return outcome
            case Busy():
                return None
            case Taken(claim=claim):
                effect, code = await self._observe(self._adapters.get(change.target.adapter), claim, change)
                return await self._settle(claim, change, effect, code, also)

    async def _act(self, taken: Taken, change: Change, also: Also | None) -> EffectOutcome:
        claim, adapter = taken.claim, self._adapters.get(change.target.adapter)
        if not taken.fresh:
            effect, code = await self._observe(adapter, claim, change)
            if effect is Effect.FAILED and taken.refusal == Refusal.BREACH_UNKNOWN:
                raise refused(  # a restart leaves it unread for a moment: the claim stays open, to be asked for again
                    f"{claim.key} was surely not done, and may not be sent now",
                    Refusal.BREACH_UNKNOWN,
                    cause="its holder ended, and the trouble cannot be read yet",
                    next_step="nothing: it is looked at again",
                )
            if effect is not Effect.FAILED or taken.refusal:
                return await self._settle(claim, change, effect, code, also)

        async def may_send() -> bool:
            return self._health.acting and await self._claims.still_valid(claim)

        try:
            with under(incident=claim.incident, claim=claim.id, may_send=may_send):
                result = await adapter.apply(change, claim.key, claim.not_after)
            effect, code = result.effect, result.code
        except AdapterError as error:
            log.warning("effect_not_sent", key=claim.key, what=error.what)
            effect, code = Effect.FAILED, "not_sent"
        if effect is Effect.UNKNOWN:
            effect, code = await self._observe(adapter, claim, change)
        return await self._settle(claim, change, effect, code, also)

    async def _settle(
        self, claim: Claim, change: Change, effect: Effect, code: str, also: Also | None
    ) -> EffectOutcome:
        """Every end of an effect comes by here, whoever found it out: one commit with all that follows from it."""
        offset = 0

        async def follow(tx: AsyncConnection, outcome: EffectOutcome) -> None:
            nonlocal offset
            if also is not None:
                await also(tx, outcome)
            offset = await self._intake.put(tx, own_effect(outcome, change.target, change.intent))

        outcome = await self._claims.settle(claim, effect, code, follow)
        if offset:
            await self._intake.ring(offset)
        return outcome

    def _must_be_trusted(self) -> None:
        if not self._health.acting:
            raise UnavailableError(
                f"acting is stopped: {self._health.why}",
                cause="the database, the ledger or the clock cannot be trusted (invariant 11)",
                next_step="watchkeeper status",
            )

    async def _observe(self, adapter: Adapter, claim: Claim, change: Change) -> tuple[Effect, str]:
        """Asks the target whether it happened. FAILED means: surely not, it may be sent."""
        for attempt in range(OBSERVE_TRIES):
            if attempt:
                await asyncio.sleep(OBSERVE_PAUSE_S * 2**attempt)
            try:
                with under(incident=claim.incident, claim=claim.id):
                    seen = await adapter.observe(change, claim.key)
            except AdapterError as error:
                log.warning("observe_failed", key=claim.key, what=error.what, attempt=attempt)
                continue
            match seen.happened:
                case Happened.YES:
                    return Effect.SUCCEEDED, "observed"
                case Happened.NO:
                    return Effect.FAILED, "observed_absent"
                case _:
                    continue
        return Effect.UNKNOWN, "not_observed"

    async def _sleep_until(self, until: datetime) -> None:
        await asyncio.sleep(max(0.05, (until - self._clock.now()).total_seconds()))
