"""What restores itself: its postcondition holds by its deadline, or it is reported."""

from __future__ import annotations

import asyncio

from watchkeeper.adapters.conformance.rules import must
from watchkeeper.adapters.contract import Happened, Seen
from watchkeeper.adapters.kit import Case, Example
from watchkeeper.core.actions import ActionKind, Change
from watchkeeper.core.outcomes import Effect

POLL_S = 0.1
"""How often the kit looks at a target that comes back in its own time."""


async def what_restores_itself_is_watched(example: Example, case: Case) -> None:
    """A self-restoring change meets its postcondition by its deadline; one whose target does not come back is never
    said to be restored, and one that never was done is not either."""
    if example.capability(case).kind is not ActionKind.SELF_RESTORING:
        return
    change = await example.change(case)
    must((await example.apply(change)).effect is Effect.SUCCEEDED, "apply succeeds")
    await _until(example, change, case.within_s)
    if case.stuck is None:
        return
    change = await example.change(await example.restart(case, change))
    async with case.stuck():
        result = await example.apply(change, "stuck")
        must(result.effect is not Effect.FAILED, "it is done, though the target will not come back", result)
        seen = await _settled(example, change, case.within_s)
        must(seen.restored is False, "a target that does not come back is reported", seen.restored)


async def _until(example: Example, change: Change, within_s: float) -> None:
    """Real time: the target's own clock, not the adapter's, decides when it is back."""
    ends = asyncio.get_running_loop().time() + within_s
    while (seen := await example.seen(change)).restored is not True:
        must(asyncio.get_running_loop().time() < ends, "the postcondition is met by its deadline", seen)
        await asyncio.sleep(POLL_S)
    must(seen.happened is Happened.YES, "what is restored has happened", seen.happened)


async def _settled(example: Example, change: Change, within_s: float) -> Seen:
    """The first reading after the effect that is sure of it."""
    ends = asyncio.get_running_loop().time() + within_s
    while (seen := await example.seen(change, "stuck")).happened is not Happened.YES:
        must(asyncio.get_running_loop().time() < ends, "the effect is observed", seen)
        await asyncio.sleep(POLL_S)
    return seen
