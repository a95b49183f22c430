"""What the conformance kit works with: an example of an adapter, a case, the faults, and the sink that records.

Whoever brings an adapter implements `Judge` and `Faults` for its target; the rest is here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Literal, Protocol

from watchkeeper.adapters.contract import Adapter, Capability, EffectResult, Happened, Seen, Tested
from watchkeeper.adapters.recorder import Call, MaySend, under
from watchkeeper.core.actions import Action, ActionKind, Change, Target
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.digest import sha256
from watchkeeper.core.entries import CallRecorded
from watchkeeper.core.errors import StoreError
from watchkeeper.core.evidence import EvidenceKind, EvidenceRef
from watchkeeper.core.ids import ActionKey, ClaimId, IncidentId
from watchkeeper.core.model import Scalar

INCIDENT, CLAIM = IncidentId("inc_conformance"), ClaimId("clm_conformance")
RETRY_AFTER_S = 3


async def sure() -> bool:
    """Authority that nobody takes away."""
    return True


async def nothing() -> None:
    """What happens right before a send, if nothing is to happen."""


class Fault(StrEnum):
    """What stands between adapter and target. `*_after_effect`: the call was carried out."""

    DROP_AFTER_EFFECT = "drop_after_effect"
    ERROR_AFTER_EFFECT = "error_after_effect"
    TRUNCATED_AFTER_EFFECT = "truncated_after_effect"
    ERROR = "error"
    """HTTP 500, or its like; nothing is carried out. So for the following ones."""
    GARBAGE = "garbage"
    """An answer in another format: a sign-in page."""
    UNAUTHORIZED = "unauthorized"
    RATE_LIMITED = "rate_limited"
    """Refused, with the wish to be left alone for `RETRY_AFTER_S`."""
    DOWN = "down"
    """No connection."""
    HELD = "held"
    """No answer; a call is carried out when the fault ends, though nobody waits for it any more."""


CORE_FAULTS = frozenset(
    {Fault.DROP_AFTER_EFFECT, Fault.GARBAGE, Fault.UNAUTHORIZED, Fault.DOWN, Fault.HELD},
)
"""What every injector must be able to do. The others are HTTP's: a protocol that has no such end leaves them out."""


class Faults(Protocol):
    @property
    def known(self) -> frozenset[Fault]:
        """What it can do; at least `CORE_FAULTS`."""
        ...

    @property
    def greets(self) -> bool:
        """Whether the target's side speaks first (SSH): then a garbled greeting proves that nothing was sent."""
        ...

    def meet(self, fault: Fault, *, writes_only: bool = True) -> AbstractContextManager[None]:
        """The fault is on inside the block."""
        ...

    async def landed(self) -> None:
        """Waits until every call that was held has been carried out."""
        ...

    @property
    def arrived(self) -> int:
        """How many calls have reached the injector, faulty or not."""
        ...


class Judge(Protocol):
    """Reads and writes the target by another way than the adapter."""

    async def fields(self, target: Target) -> Mapping[str, Scalar]: ...

    async def write(self, target: Target, values: Mapping[str, Scalar]) -> None:
        """Another writer."""
        ...

    async def effects(self) -> int:
        """How many writes the target has carried out, ever."""
        ...


@dataclass(frozen=True)
class Case:
    """`action` can be done; `elsewhere` is the same on a target that does not exist; `disturbed` are third values, of
    neither before nor after, where the field has such.

    What cannot be undone needs a fresh target for each effect: `again` makes one and gives the action on it. `stuck`
    keeps the target of a self-restoring action from coming back, inside its block; `within_s` is how long, in real
    time, the kit waits for one that can."""

    action: Action
    elsewhere: Action
    disturbed: Mapping[str, Scalar] = field(default_factory=dict)
    again: Callable[[], Awaitable[Action]] | None = None
    stuck: Callable[[], AbstractAsyncContextManager[None]] | None = None
    within_s: float = 30.0

    @property
    def name(self) -> str:
        return f"{self.action.target.kind}-{self.action.intent}"


@dataclass(frozen=True)
class Refused:
    """An action that precheck must refuse with this code."""

    action: Action
    code: str


class KitSink:
    """A call sink in memory that can be told to fail, and that lets something happen right before a write is sent."""

    def __init__(self) -> None:
        self.calls: list[CallRecorded] = []
        self.bodies: list[bytes] = []
        self.refuse: Literal["", "begin", "finish"] = ""
        self.before_send: Callable[[], Awaitable[None]] = nothing

    async def begin(self, call: Call, media_type: str) -> EvidenceRef:
        if call.write and self.refuse == "begin":
            raise StoreError("the kit refuses to record")
        self.bodies.append(call.body)
        if call.write:
            await self.before_send()
        return EvidenceRef(kind=EvidenceKind.REQUEST, commitment=sha256(call.body), size=len(call.body))

    async def finish(self, call: CallRecorded, reply: bytes | None, media_type: str) -> None:
        if call.claim is not None and self.refuse == "finish":
            raise StoreError("the kit refuses to record")
        self.calls.append(call)
        if reply is not None:
            self.bodies.append(reply)


@dataclass
class Example:
    """`secret` is the adapter's credential; `settle_s` passes on `clock` before an unanswered call is held for lost;
    `against` is what the target is. `reply_s`: how long the kit gives a call whose answer is held back."""

    adapter: Adapter
    clock: ManualClock
    sink: KitSink
    judge: Judge
    faults: Faults
    cases: tuple[Case, ...]
    refused: tuple[Refused, ...]
    secret: str
    settle_s: float
    against: Tested
    reply_s: float = 0.1

    def capability(self, case: Case) -> Capability:
        action = case.action
        return next(
            c for c in self.adapter.capabilities() if c.intent is action.intent and c.target_kind == action.target.kind
        )

    def reversible(self, case: Case) -> bool:
        return self.capability(case).kind is ActionKind.REVERSIBLE

    async def restart(self, case: Case, change: Change) -> Case:
        """The case as it was before `change`: put back by the judge, or on a fresh target."""
        if case.again is not None:
            return replace(case, action=await case.again())
        if self.reversible(case):
            await self.judge.write(case.action.target, {one.path: one.before for one in change.fields})
        return case

    async def change(self, case: Case) -> Change:
        with under(incident=INCIDENT):
            return await self.adapter.dry_run(case.action)

    async def apply(
        self, change: Change, name: str = "apply", within_s: float = 5.0, may_send: MaySend = sure
    ) -> EffectResult:
        deadline = self.clock.now() + timedelta(seconds=within_s)
        with under(incident=INCIDENT, claim=CLAIM, may_send=may_send):
            return await self.adapter.apply(change, ActionKey(f"pln_kit/0/{name}"), deadline)

    async def seen(self, change: Change, name: str = "apply") -> Seen:
        with under(incident=INCIDENT, claim=CLAIM):
            return await self.adapter.observe(change, ActionKey(f"pln_kit/0/{name}"))

    async def observe(self, change: Change, name: str = "apply") -> Happened:
        return (await self.seen(change, name)).happened
