"""A process that takes claims, for races and crashes: `python -m tests.testbed.claimant URL NAME MODE [COUNT]`.

`many` claims target after target, anew where an epoch moved, leaves every second effect unsettled, and prints why it
ended. The others print their names, and wait to be killed: `inside` in the middle of a claim's transaction, `after`
with a claim that is neither sent nor settled, `lowering` in the middle of lowering the agent's ceiling.
"""

from __future__ import annotations

import asyncio
import sys
from typing import NoReturn

from sqlalchemy.ext.asyncio import AsyncConnection

from tests.testbed.authority import AGENT, Authority, a_change, a_plan, an_operator
from watchkeeper.core.clock import SystemClock
from watchkeeper.core.decisions import Autonomy
from watchkeeper.core.entries import Draft
from watchkeeper.core.errors import RefusedError
from watchkeeper.core.outcomes import Effect
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.policies.promotion.service import Promotions
from watchkeeper.store.engine import Store

PLAN = a_plan("pln_crash")


def say(word: str) -> None:
    print(word, flush=True)


async def many(authority: Authority, name: str, count: int) -> None:
    for n in range(count):
        plan = a_plan(f"pln_{name}_{n}", f"inc_{name}_{n}", [a_change(f"{name}_{n}")])
        request = await authority.request(plan, holder=name)
        try:
            taken = await authority.claims.take(request)
        except RefusedError as refused:
            if refused.reason == "epoch_moved":
                continue
            say(refused.reason)
            return
        if n % 2:
            await authority.claims.settle(taken.claim, Effect.SUCCEEDED, "http_200")  # type: ignore[union-attr]
    say("done")


async def inside(authority: Authority, name: str) -> NoReturn:
    async def stand_still(tx: AsyncConnection, *drafts: Draft) -> NoReturn:
        say("inside")
        while True:
            await asyncio.sleep(3600)

    authority.ledger.append = stand_still  # type: ignore[method-assign]
    await authority.claims.take(await authority.request(PLAN, holder=name))
    raise AssertionError("the claim was committed")


async def lowering(authority: Authority) -> NoReturn:
    async def stand_still(tx: AsyncConnection, *drafts: Draft) -> NoReturn:
        say("lowering")
        while True:
            await asyncio.sleep(3600)

    authority.ledger.append = stand_still  # type: ignore[method-assign]
    evidence = Evidence(authority.store, clock=authority.clock)
    promotions = Promotions(authority.store, authority.ledger, authority.clock, evidence, authority.trust)
    await promotions.set_ceiling(AGENT, Autonomy.PROPOSE, an_operator(), "never said")
    raise AssertionError("the ceiling was lowered")


async def after(authority: Authority, name: str) -> None:
    await authority.taken(PLAN, holder=name, valid_s=0.2)
    say("after")
    await asyncio.Event().wait()


async def main(url: str, name: str, mode: str, count: int) -> None:
    authority = Authority(Store(url), SystemClock(), writer=name)
    match mode:
        case "many":
            await many(authority, name, count)
        case "inside":
            await inside(authority, name)
        case "lowering":
            await lowering(authority)
        case _:
            await after(authority, name)
    await authority.store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int((sys.argv[4:] or ["0"])[0])))
