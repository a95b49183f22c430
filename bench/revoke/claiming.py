"""Claims at a rate, by a few workers: what a stop has to hold back.

Each is about another plan on another target: its epochs are read, it is decided by the policy in force, it is claimed,
and what was granted is settled a moment later, as when a target answers. Nothing is sent anywhere. While every worker
is at a claim none is begun, so on a machine that is too slow for the rate there are fewer; how many is told.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from datetime import datetime
from itertools import count
from typing import NamedTuple

from tests.testbed.authority import AGENT, a_change, a_plan, a_reading, a_record, an_operator, scopes_of

from watchkeeper.core.claims import Claim, EffectPhase
from watchkeeper.core.clock import SystemClock
from watchkeeper.core.decisions import ActionRequest, DecisionRecord
from watchkeeper.core.errors import RefusedError
from watchkeeper.core.outcomes import Effect
from watchkeeper.core.plans import Plan
from watchkeeper.ledger.append import Ledger
from watchkeeper.policies.claiming.checks import Refusal
from watchkeeper.policies.claiming.claims import ClaimRequest, Claims, Taken
from watchkeeper.policies.compile import Policy
from watchkeeper.policies.decide import decide
from watchkeeper.policies.load import from_texts
from watchkeeper.policies.revocation.epochs import Epochs
from watchkeeper.policies.versions import PolicyVersions
from watchkeeper.store.engine import Store

SOURCE = "log.example.com/bench"
TARGET_ANSWERS_S = 0.05
FLEET = 500
"""More than can ever be under way here: where caps count, they are counted at every claim and never reached."""

GRANT = f"""
apiVersion: watchkeeper.dev/v1
kind: Grant
metadata: {{name: bench-throttle}}
spec:
  match:
    environments: [prod]
    services: [chat]
    agents: [{AGENT}]
    runbooks: [throttle-runaway-caller]
    intents: [throttle]
    targetKinds: [key]
  autonomy: bounded
  caps: CAPS
"""
CAPS = {False: "{maxBlastCount: 1}", True: f"{{maxBlastCount: 1, concurrency: {{perTarget: 1, fleet: {FLEET}}}}}"}
"""By whether a cap counts what others do."""
SCOPES = ("all", "environment:prod", "service:prod/chat", f"agent:{AGENT}", "action:throttle-runaway-caller/throttle")
"""Whose stop holds back every claim made here."""


class Refused(NamedTuple):
    """On the monotonic clock, which all processes of a machine share: when it was begun, and when refused."""

    begun: float
    at: float


class Tally(NamedTuple):
    granted: int
    refused: int
    seconds: float


class Claimant:
    """One process's claims; `told` hears of each that a stop refused."""

    def __init__(self, store: Store, name: str, told: Callable[[Refused], None]) -> None:
        self._clock, self._name, self._told = SystemClock(), name, told
        ledger = Ledger(store, self._clock, source=SOURCE, writer=name)
        self._epochs = Epochs(store, ledger, self._clock)
        self._versions = PolicyVersions(store, ledger, self._clock)
        self._claims = Claims(store, ledger, self._clock, self._versions.if_active)
        self._numbers, self._granted, self._refused = count(), 0, 0

    async def claim(self, rate: float, workers: int, seed: int, until: asyncio.Event) -> Tally:
        """At most so many a second, at gaps of up to twice the mean. A worker settles beside its next claim."""
        policy, rng = await self._versions.active(), random.Random(seed)
        began = due = time.monotonic()
        async with asyncio.TaskGroup() as group:

            async def work() -> None:
                nonlocal due
                while not until.is_set():
                    due = max(due + rng.uniform(0, 2 / rate), time.monotonic() - 1 / rate)
                    await asyncio.sleep(due - time.monotonic())
                    if (claim := await self._one(policy)) is not None:
                        group.create_task(self._settle(claim))

            for _ in range(workers):
                group.create_task(work())
        return Tally(self._granted, self._refused, time.monotonic() - began)

    async def _one(self, policy: Policy) -> Claim | None:
        begun = time.monotonic()
        request = await self._asked(policy)
        try:
            taken = await self._claims.take(request)
        except RefusedError as refusal:
            if refusal.reason not in (Refusal.STOPPED, Refusal.EPOCH_MOVED):
                raise
            self._refused += 1
            self._told(Refused(begun, time.monotonic()))
            return None
        assert isinstance(taken, Taken), taken
        self._granted += 1
        return taken.claim

    async def _settle(self, claim: Claim) -> None:
        await asyncio.sleep(TARGET_ANSWERS_S)
        await self._claims.settle(claim, Effect.SUCCEEDED, "http_200")

    async def _asked(self, policy: Policy) -> ClaimRequest:
        name = f"{self._name}_{next(self._numbers)}"
        plan = a_plan(f"pln_{name}", f"inc_{name}", [a_change(name)])
        return ClaimRequest(
            plan=plan,
            step=0,
            phase=EffectPhase.APPLY,
            epochs=await self._epochs.seen(scopes_of(plan)),
            record=_decided(policy, plan, self._clock.now()),
            breach=a_reading(self._clock.now()),
            holder=self._name,
        )


def _decided(policy: Policy, plan: Plan, now: datetime) -> DecisionRecord:
    """As if nobody else were at it: what caps count is read again by the claim."""
    (action,) = plan.actions
    asked = ActionRequest(
        step=action.step,
        intent=action.intent,
        kind=action.kind,
        target=action.target,
        blast_count=1,
        blast_population=100,
        undo_captured=True,
        verification_declared=True,
        seconds_since_last=None,
        running_on_target=0,
    )
    record = a_record(plan)
    given = record.input.model_copy(update={"requests": (asked,), "at": now})
    return record.model_copy(update={"input": given, "decision": decide(policy, given)})


async def prepare(store: Store, *, counted: bool) -> None:
    """Activates the policy that the claims are made under."""
    clock = SystemClock()
    ledger = Ledger(store, clock, source=SOURCE, writer="people")
    documents = from_texts({"bench.yaml": GRANT.replace("CAPS", CAPS[counted])})
    await PolicyVersions(store, ledger, clock).activate(documents, an_operator())
