"""Until when, and by whose leave, something may be sent."""

from __future__ import annotations

from watchkeeper.adapters.conformance.rules import must, raised
from watchkeeper.adapters.contract import EffectResult
from watchkeeper.adapters.kit import RETRY_AFTER_S, Case, Example, Fault, nothing
from watchkeeper.core.outcomes import Effect


async def the_deadline_holds(example: Example, case: Case) -> None:
    """It is read again as the last thing before the send; what is late is not sent."""
    change, effects = await example.change(case), await example.judge.effects()
    late = EffectResult(effect=Effect.FAILED, code="deadline_passed")
    result = await example.apply(change, within_s=-1)
    must(result == late, "nothing is sent after the deadline", result)

    async def five_seconds() -> None:
        example.clock.advance(5)

    example.sink.before_send = five_seconds
    try:
        result = await example.apply(change, within_s=5)
    finally:
        example.sink.before_send = nothing
    must(result == late, "the deadline is read again right before the send", result)
    must(await example.judge.effects() == effects, "nothing was written")


async def authority_is_asked_last(example: Example, case: Case) -> None:
    """What is taken away while the target is looked at, or while the request is recorded, holds back the send."""
    change, effects = await example.change(case), await example.judge.effects()
    stands = [True]

    async def taken_away() -> None:
        stands.clear()

    async def may_send() -> bool:
        return bool(stands)

    example.sink.before_send = taken_away
    try:
        result = await example.apply(change, may_send=may_send)
    finally:
        example.sink.before_send = nothing
    lost = EffectResult(effect=Effect.FAILED, code="authority_lost")
    must(result == lost, "authority is asked for right before the send", result)
    must(await example.judge.effects() == effects, "nothing was written")


async def a_rate_limit_is_respected(example: Example, case: Case) -> None:
    """After a 429 nothing is sent before the time that the target asked for has passed."""
    if Fault.RATE_LIMITED not in example.faults.known:
        return
    change, effects = await example.change(case), await example.judge.effects()
    with example.faults.meet(Fault.RATE_LIMITED, writes_only=False):
        error = await raised(example.apply(change), "apply when rate limited")
        must(error.retryable and (error.retry_after_s or 0) >= RETRY_AFTER_S, "Retry-After is passed on", error)
        arrived = example.faults.arrived
        example.clock.advance(RETRY_AFTER_S - 0.01)
        await raised(example.apply(change), "apply before Retry-After has passed")
        must(example.faults.arrived == arrived, "nothing was sent before Retry-After had passed")
    example.clock.advance(RETRY_AFTER_S)
    must((await example.apply(change)).effect is Effect.SUCCEEDED, "afterwards it is sent")
    must(await example.judge.effects() == effects + 1, "and written once")
