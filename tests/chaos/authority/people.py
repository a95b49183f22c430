"""The people, in a process of their own: they stop and resume scopes and answer approvals while executors claim."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from multiprocessing.connection import Connection

from tests.chaos.authority import broken
from tests.testbed.authority import Authority, a_person, an_operator
from watchkeeper.core.clock import SystemClock
from watchkeeper.core.consents import ApprovalAnswer
from watchkeeper.core.errors import WatchkeeperError
from watchkeeper.core.ids import ApprovalId
from watchkeeper.core.principals import Role
from watchkeeper.store.engine import Store


@dataclass(frozen=True)
class Deed:
    """After so many seconds: `stop`, `resume` a scope, or `approved`, `rejected` an approval."""

    after_s: float
    what: str
    of: str


@dataclass(frozen=True)
class Day:
    url: str
    deeds: tuple[Deed, ...]
    broken: str = ""


def live(day: Day, up: Connection) -> None:
    asyncio.run(_live(day, up))


async def _live(day: Day, up: Connection) -> None:
    broken.apply(day.broken)
    authority = Authority(Store(day.url), SystemClock(), writer="people")
    await authority.claims.open_claims()
    up.send("people")
    began = asyncio.get_running_loop().time()
    for deed in sorted(day.deeds, key=lambda each: each.after_s):
        await asyncio.sleep(max(0.0, began + deed.after_s - asyncio.get_running_loop().time()))
        try:
            await _do(authority, deed)
        except WatchkeeperError:  # answered, ended or locked: it is as it is
            continue
    await asyncio.Event().wait()


def _do(authority: Authority, deed: Deed) -> Awaitable[object]:
    match deed.what:
        case "stop":
            return authority.epochs.stop(deed.of, an_operator())
        case "resume":
            return authority.epochs.resume(deed.of, an_operator())
        case answer:
            ann = a_person("ann", Role.APPROVER)
            return authority.approvals.answer(ApprovalId(deed.of), ApprovalAnswer(answer), ann, "api")
