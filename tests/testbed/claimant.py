"""A process that takes claims, for races and crashes: `python -m tests.testbed.claimant URL NAME MODE [COUNT]`.

`many` claims target after target, leaves every second effect unsettled, and prints why it ended; `inside` stops in the
middle of a claim's transaction and prints `inside`; `after` takes a claim and stops with the effect neither sent nor
settled, printing `after`. It waits to be killed in the last two.
"""

from __future__ import annotations

import asyncio
import sys
from typing import NoReturn

from sqlalchemy.ext.asyncio import AsyncConnection

from tests.testbed.authority import Authority, a_change, a_plan
from watchkeeper.core.clock import SystemClock
from watchkeeper.core.entries import Draft
from watchkeeper.core.errors import RefusedError
from watchkeeper.core.outcomes import Effect
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
        case _:
            await after(authority, name)
    await authority.store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int((sys.argv[4:] or ["0"])[0])))
