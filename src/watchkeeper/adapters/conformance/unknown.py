"""What is not known is unknown, until the target has been looked at."""

from __future__ import annotations

from watchkeeper.adapters.conformance.rules import known, must
from watchkeeper.adapters.contract import Happened
from watchkeeper.adapters.kit import Case, Example, Fault
from watchkeeper.core.errors import AdapterError
from watchkeeper.core.outcomes import Effect


async def lost_reply_is_unknown_and_observe_settles_it(example: Example, case: Case) -> None:
    """A call that was carried out and not answered is unknown, never failed; observe finds it."""
    for fault in known(example, Fault.DROP_AFTER_EFFECT, Fault.TRUNCATED_AFTER_EFFECT, Fault.ERROR_AFTER_EFFECT):
        change = await example.change(case)
        with example.faults.meet(fault):
            result = await example.apply(change, f"apply/{fault}")
        must(result.effect is Effect.UNKNOWN, f"{fault}: the effect is unknown", result)
        seen = await example.observe(change, f"apply/{fault}")
        must(seen is Happened.YES, f"{fault}: observe says yes", seen)
        case = await example.restart(case, change)


async def what_was_not_done_is_observed_as_no(example: Example, case: Case) -> None:
    """An unreadable answer, with nothing carried out, is unknown; once nothing can land any more, observe says no."""
    change, effects = await example.change(case), await example.judge.effects()
    for fault in known(example, Fault.GARBAGE, Fault.ERROR):
        with example.faults.meet(fault):
            try:
                result = await example.apply(change, f"apply/{fault}")
            except AdapterError as error:
                must(example.faults.greets, f"{fault}: what may have been sent is no error", error)
                continue
        must(result.effect is not Effect.SUCCEEDED, f"{fault}: nothing succeeded", result)
        example.clock.advance(example.settle_s)
        seen = await example.observe(change, f"apply/{fault}")
        must(seen is Happened.NO, f"{fault}: observe says no", seen)
    must(await example.judge.effects() == effects, "nothing was written")


async def a_late_call_is_not_a_no(example: Example, case: Case) -> None:
    """While a call that we gave up may still land, observe does not say that it did not happen."""
    change = await example.change(case)
    with example.faults.meet(Fault.HELD):
        result = await example.apply(change, within_s=example.reply_s)
        must(result.effect is not Effect.SUCCEEDED, "nothing succeeded yet", result)
        seen = await example.observe(change)
        must(seen is not Happened.NO, "a held call may still land", seen)
    await example.faults.landed()
    seen = await example.observe(change)
    must(seen is Happened.YES, "it landed late, and is seen", seen)
