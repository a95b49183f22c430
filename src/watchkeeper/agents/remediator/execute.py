"""The executor: "make sure that this effect is done", once, under a claim.

Claim → (after a crash: observe first) → epochs and deadline read again → send → settle. A send whose result is not
known is observed; what cannot be observed stays unknown and open, and is never sent again before that (invariant 4).
It does not decide whether an action should be done: the claim's transaction does.
An owner frozen between its last check and the send can still act late: only a precondition at the target closes that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import structlog

from watchkeeper.adapters.contract import Adapter, Happened, Registry
from watchkeeper.adapters.recorder import under
from watchkeeper.core.actions import Change
from watchkeeper.core.claims import Claim
from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import AdapterError, UnavailableError
from watchkeeper.core.ids import ActionKey
from watchkeeper.core.outcomes import Effect, EffectOutcome
from watchkeeper.core.signals import Signal
from watchkeeper.policies.claims import Busy, ClaimRequest, Claims, Settled, Taken
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


class EffectSink(Protocol):
    """Where every effect of ours becomes a change event (invariant 12)."""

    async def accept(self, source: str, signals: Sequence[Signal]) -> object: ...


class Executor:
    def __init__(self, claims: Claims, adapters: Registry, clock: Clock, health: MayAct, intake: EffectSink) -> None:
        self._claims, self._adapters, self._clock = claims, adapters, clock
        self._health, self._intake = health, intake

    async def ensure(self, request: ClaimRequest, change: Change) -> EffectOutcome:
        """Does the effect of `change` once under `request.key`, or tells what became of it before.

        Raises RefusedError when a gate of the claim says no, AdapterError(retryable) never: what was not sent is
        settled as failed, what may have been sent as unknown.
        """
        while True:
            self._must_be_trusted()
            taken = await self._claims.take(request)
            match taken:
                case Settled(outcome=outcome):
                    return outcome
                case Busy(until=until):
                    await self._sleep_until(until)
                case Taken():
                    return await self._act(taken, change)

    async def reconcile(self, key: ActionKey, change: Change, holder: str) -> EffectOutcome | None:
        """Looks at an effect that was left open, and settles it; sends nothing. None while its holder may be at it."""
        match await self._claims.takeover(key, holder):
            case Settled(outcome=outcome):
                return outcome
            case Busy():
                return None
            case Taken(claim=claim):
                effect, code = await self._observe(self._adapters.get(change.target.adapter), claim, change)
                return await self._claims.settle(claim, effect, code)

    async def _act(self, taken: Taken, change: Change) -> EffectOutcome:
        claim, adapter = taken.claim, self._adapters.get(change.target.adapter)
        if not taken.fresh:
            effect, code = await self._observe(adapter, claim, change)
            if effect is not Effect.FAILED or taken.refusal:
                return await self._claims.settle(claim, effect, code)
        if not await self._claims.still_valid(claim):
            return await self._claims.settle(claim, Effect.FAILED, "authority_lost_before_send")
        try:
            with under(incident=claim.incident, claim=claim.id):
                result = await adapter.apply(change, claim.key, claim.not_after)
            effect, code = result.effect, result.code
        except AdapterError as error:
            log.warning("effect_not_sent", key=claim.key, what=error.what)
            effect, code = Effect.FAILED, "not_sent"
        if effect is Effect.UNKNOWN:
            effect, code = await self._observe(adapter, claim, change)
        outcome = await self._claims.settle(claim, effect, code)
        await self._intake.accept("watchkeeper", [own_effect(outcome, change.target, change.intent)])
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
