"""What executors, the parent and the judge share: plans, the adapter of the target, and authority on one database."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

import httpx
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.chaos.authority.target import LANDS_S
from tests.testbed.authority import Authority, a_change, a_plan
from watchkeeper.adapters.contract import Capability, EffectResult, Happened, Permitted, Precheck, Registry, Seen
from watchkeeper.adapters.flights import Flights
from watchkeeper.adapters.http import Credential, HttpTarget, WriteCall
from watchkeeper.adapters.litellm.dialect import LITELLM
from watchkeeper.adapters.recorder import CallRecorder
from watchkeeper.adapters.sink import LedgerCallSink
from watchkeeper.agents.remediator import execute
from watchkeeper.agents.remediator.execute import Executor
from watchkeeper.core.actions import Action, Change, Target, TargetState
from watchkeeper.core.clock import Clock, SystemClock
from watchkeeper.core.errors import AdapterError
from watchkeeper.core.ids import ActionKey
from watchkeeper.core.outcomes import Effect
from watchkeeper.core.plans import Plan
from watchkeeper.core.signals import Signal
from watchkeeper.ledger.evidence.redaction import Redactor
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.policies.claiming.claims import Claims
from watchkeeper.store.engine import Store

CLAIM_S, GRACE_S = 0.4, 0.7
"""Short, so that a run can wait for them; grace covers skew on both sides and what lands late."""
REPLY_S = 0.25
PLANS = 16


class Skewed(SystemClock):
    """Wall time that is off by some seconds."""

    def __init__(self, off_s: float) -> None:
        self._off = timedelta(seconds=off_s)

    def now(self) -> datetime:
        return super().now() + self._off


class Always:
    acting, why = True, ""


class Nowhere:
    """The detectors are not here."""

    async def put(self, tx: AsyncConnection, signal: Signal) -> int:
        return 0

    async def ring(self, offset: int) -> None:
        raise AssertionError("nothing was put")


class SocketAdapter:
    """The target over its socket, through the HTTP client and recorder that every adapter goes through."""

    proven: ClassVar[str] = ""
    name = "litellm:main"

    def __init__(self, socket: str, recorder: CallRecorder, clock: Clock, sending: Callable[[], None]) -> None:
        transport = httpx.AsyncHTTPTransport(uds=socket)
        self._http = HttpTarget(
            self.name,
            "http://target",
            Credential(SecretStr("k")),
            LITELLM,
            recorder,
            clock,
            reply_s=REPLY_S,
            transport=transport,
        )
        self._clock, self._sending = clock, sending
        self._flights = Flights(clock, 2 * LANDS_S)

    def capabilities(self) -> tuple[Capability, ...]:
        return ()

    async def inspect(self, target: Target) -> TargetState:
        raise NotImplementedError

    async def precheck(self, action: Action) -> Precheck:
        raise NotImplementedError

    async def dry_run(self, action: Action) -> Change:
        raise NotImplementedError

    async def apply(self, change: Change, key: ActionKey, deadline: datetime) -> EffectResult:
        def sending() -> None:
            self._flights.sent(key)
            self._sending()

        call = WriteCall("target.do", "POST", "/do", {"key": key, "target": change.target.id})
        try:
            reply = await self._http.write(call, deadline, headers={}, sending=sending)
        except AdapterError:
            self._flights.answered(key)
            raise
        if reply.result == "ok":
            self._flights.answered(key)
            return EffectResult(effect=Effect.SUCCEEDED, code=reply.code)
        self._flights.given_up(key)
        return EffectResult(effect=Effect.UNKNOWN if reply.result == "unknown" else Effect.FAILED, code=reply.code)

    async def observe(self, change: Change, key: ActionKey) -> Seen:
        found = await self._http.read("target.look", "/look", {"key": key.replace("/", ".")})
        done = isinstance(found, dict) and found["done"] is True
        happened = Happened.YES if done else Happened.UNKNOWN if self._flights.may_land(key) else Happened.NO
        return Seen(happened=happened, state=TargetState(target=change.target, exists=True, at=self._clock.now()))

    async def permitted(self, permissions: Collection[str]) -> tuple[Permitted, ...]:
        raise NotImplementedError

    async def close(self) -> None:
        await self._http.close()


@dataclass
class Bench:
    """One process's authority and executor on the run's database."""

    authority: Authority
    executor: Executor
    adapter: SocketAdapter

    @classmethod
    def over(
        cls, url: str, socket: str, name: str, off_s: float = 0.0, sending: Callable[[], None] = lambda: None
    ) -> Bench:
        clock = Skewed(off_s)
        authority = Authority(Store(url), clock, writer=name)
        authority.claims = Claims(authority.store, authority.ledger, clock, authority._active, grace_s=GRACE_S)
        sink = LedgerCallSink(authority.store, authority.ledger, Evidence(authority.store, clock=clock))
        adapter = SocketAdapter(socket, CallRecorder(sink, Redactor(()), clock), clock, sending)
        execute.OBSERVE_PAUSE_S = LANDS_S
        registry = Registry([adapter], unproven="allow")
        return cls(authority, Executor(authority.claims, registry, clock, Always(), Nowhere()), adapter)

    async def close(self) -> None:
        await self.adapter.close()
        await self.authority.store.close()


def plans() -> list[Plan]:
    """Each on a target of its own."""
    return [a_plan(f"pln_{n}", f"inc_{n}", [a_change(f"k{n}")]) for n in range(PLANS)]
