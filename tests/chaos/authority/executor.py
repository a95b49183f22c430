"""An executor process: drives the run's plans, in an order of its own, until it is killed.

At the n-th time that it comes by one of its points it kills or freezes itself. What was then between its last look and
the send is in its words first, by a plain write that survives. `broken` makes it one of the builds that the judge must
catch.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from sqlalchemy import Engine, event

from tests.chaos.authority import broken
from tests.chaos.authority.world import CLAIM_S, Bench, plans
from tests.testbed.authority import a_reading, a_record, scopes_of
from watchkeeper.core.claims import Claim, EffectPhase
from watchkeeper.core.decisions import ApprovalTerms, Verdict
from watchkeeper.core.errors import RefusedError, WatchkeeperError
from watchkeeper.core.ids import ApprovalId
from watchkeeper.core.outcomes import Effect
from watchkeeper.core.plans import Plan
from watchkeeper.core.principals import Role
from watchkeeper.policies.claiming.claims import ClaimRequest

TERMS = (ApprovalTerms(node="grant/x", roles=(Role.APPROVER,), ttl_s=600),)
POINTS = ("sql", "claimed", "looking", "looked", "sending", "replied", "settling", "settled")
SPREAD_S = 1.5
"""Over how long the plans of one life begin."""
REFUSED_S, ENDED_S = 0.3, 0.8
Result = TypeVar("Result")
_key: ContextVar[str] = ContextVar("key", default="")
"""What the task that comes by a point is at."""


@dataclass(frozen=True)
class Task:
    """One life. `at` and `nth`: where it ends or freezes (`do`: kill, freeze, or empty: only the parent ends it)."""

    url: str
    socket: str
    words: str
    name: str
    seed: int
    off_s: float
    approvals: tuple[tuple[str, str], ...]
    """Plan → approval, of the plans that a person is asked about."""
    undone: tuple[str, ...]
    """Plans that are undone once they are done."""
    do: str
    at: str
    nth: int
    broken: str = ""


def run(task: Task, up: Connection) -> None:
    asyncio.run(_Life(task).through(up))


class _Life:
    def __init__(self, task: Task) -> None:
        self._task, self._rng, self._passed = task, random.Random(task.seed), 0
        self._sending: set[str] = set()
        """What is between its last look and the send, of all that goes on at once."""
        self._words = os.open(task.words, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def come_by(self, point: str) -> None:
        if point != self._task.at or not self._task.do:
            return
        self._passed += 1
        if self._passed != self._task.nth:
            return
        told = {"do": self._task.do, "at": point, "after_last_look": sorted(self._sending)}
        os.write(self._words, (json.dumps(told) + "\n").encode())
        os.kill(os.getpid(), signal.SIGKILL if self._task.do == "kill" else signal.SIGSTOP)

    async def through(self, up: Connection) -> None:
        task = self._task
        broken.apply(task.broken)
        bench = Bench.over(task.url, task.socket, task.name, task.off_s, lambda: self.come_by("sending"))
        await bench.authority.claims.open_claims()
        self._listen(bench)
        up.send(task.name)
        await asyncio.gather(*(self._keep_at(bench, plan) for plan in plans()))

    async def _keep_at(self, bench: Bench, plan: Plan) -> None:
        await asyncio.sleep(self._rng.random() * SPREAD_S)
        while True:
            await asyncio.sleep(self._rng.random() * await self._drive(bench, plan))

    def _listen(self, bench: Bench) -> None:
        if not bench.authority.store.is_sqlite:
            ledger: Any = bench.authority.ledger
            ledger.append = self._slowly(ledger.append)
        claims: Any = bench.authority.claims
        claims.take = self._around(claims.take, "", "claimed")
        claims.still_valid = self._around(self._last_look(claims.still_valid), "looking", "looked")
        claims.settle = self._around(claims.settle, "settling", "settled")
        exchange: Any = bench.adapter._http._wire._exchange
        exchange._exchange = self._around(self._sent(exchange._exchange), "", "replied")
        for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
            event.listen(Engine, name, lambda *args: self.come_by("sql"))

    def _slowly(self, append: Callable[..., Awaitable[Result]]) -> Callable[..., Awaitable[Result]]:
        """Transactions that stay open for a while, so that others have time to go wrong."""

        async def slowly(*given: Any) -> Result:
            await asyncio.sleep(self._rng.choice((0.0, self._rng.random() * 0.02)))
            return await append(*given)

        return slowly

    def _last_look(self, look: Callable[[Claim], Awaitable[bool]]) -> Callable[[Claim], Awaitable[bool]]:
        async def looked(claim: Claim) -> bool:
            self._sending.add(_key.get())
            stands = await look(claim)
            if not stands:
                self._sending.discard(_key.get())
            return stands

        return looked

    def _sent(self, exchange: Callable[..., Awaitable[Result]]) -> Callable[..., Awaitable[Result]]:
        async def sent(*given: Any, **named: Any) -> Result:
            try:
                return await exchange(*given, **named)
            finally:
                self._sending.discard(_key.get())

        return sent

    def _around(
        self, call: Callable[..., Awaitable[Result]], before: str, after: str
    ) -> Callable[..., Awaitable[Result]]:
        async def around(*given: Any, **named: Any) -> Result:
            self.come_by(before)
            result = await call(*given, **named)
            self.come_by(after)
            return result

        return around

    async def _drive(self, bench: Bench, plan: Plan) -> float:
        """Within how many seconds to come again: what needs no more work should leave the machine to what does."""
        try:
            did = await self._ensure(bench, plan, EffectPhase.APPLY)
            if did is Effect.SUCCEEDED and plan.id in self._task.undone:
                await self._ensure(bench, plan, EffectPhase.UNDO)
        except RefusedError:
            return REFUSED_S
        except WatchkeeperError:  # the file is locked, the claim is another's now, the target does not answer
            return 0.1
        return ENDED_S

    async def _ensure(self, bench: Bench, plan: Plan, phase: EffectPhase) -> Effect:
        """With a decision made now: a new one each time, as after every refusal that is stale."""
        authority, clock = bench.authority, bench.authority.clock
        asked = dict(self._task.approvals).get(plan.id)
        record = a_record(plan, Verdict.REQUIRE_APPROVAL, TERMS) if asked else a_record(plan)
        seen = await authority.epochs.seen(scopes_of(plan))
        applying = phase is EffectPhase.APPLY

        async def ask() -> ClaimRequest:
            return ClaimRequest(
                plan=plan,
                step=0,
                phase=phase,
                record=record,
                epochs=seen,
                approval=ApprovalId(asked) if asked else None,
                breach=a_reading(clock.now()) if applying else None,
                holder=self._task.name,
                valid_s=CLAIM_S,
            )

        _key.set(f"{plan.id}/0/{phase}")
        change = plan.changes[0]
        return (await bench.executor.ensure(ask, change)).effect
