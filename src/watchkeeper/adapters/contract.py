"""The action contract: what every adapter of a target (a gateway, a cluster, a cloud, a host) promises.

`inspect → precheck → dry_run → capture_undo → apply → observe`; undo and release are `apply` of the captured change's
inverse or of a part of it. Version 1; a later version only adds.
The contract does NOT decide whether something should be done, and it does not make two writers safe: where a target
has no precondition of its own, another writer can still slip between an adapter's last look and its send.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Literal, Protocol

from pydantic import Field

from watchkeeper.core.actions import Action, ActionKind, Change, Intent, Target, TargetState
from watchkeeper.core.errors import ConfigError, ConflictError, NotFoundError, suggest
from watchkeeper.core.ids import ActionKey
from watchkeeper.core.model import Contract
from watchkeeper.core.outcomes import Effect

CONFORMANCE = "watchkeeper.dev/adapter-conformance/v2"
"""The kit (`watchkeeper.adapters.conformance`) that an adapter must have passed before it is registered."""


class Idempotency(StrEnum):
    NATIVE = "native"
    """The target takes our key and refuses to do it twice."""
    OWN_RECORD = "own-record"
    """The target knows no keys: our claim is the record, and `observe` reads the state back."""


class Tested(StrEnum):
    """Against what the conformance kit was run for a capability."""

    REAL = "real"
    """The thing itself."""
    EMULATOR = "emulator"
    """Somebody else's imitation of it."""
    FAKE = "fake"
    """Our own imitation, after the vendor's documents."""


class Capability(Contract):
    """One intent on one kind of target. `parameters` is the typed model of what an action must carry."""

    schema_name = "watchkeeper.dev/capability/v1"
    intent: Intent
    target_kind: str
    parameters: type[Contract]
    kind: ActionKind
    permissions: tuple[str, ...]
    """What the adapter's credential must be allowed to call, in the target's own words."""
    idempotency: Idempotency
    postcondition_s: float = Field(gt=0)
    """By then the effect is in force and `observe` sees it."""
    tested: Tested = Tested.FAKE
    """What the kit was run against: the least of them, unless it says more."""
    precondition: bool = False
    """Whether the target itself refuses a write when the state moved (resourceVersion, ETag). False leaves a window."""


class Problem(Contract):
    """Why an action cannot be done. `code` is enumerated; `fix` tells a person what to change."""

    code: str
    path: str = ""
    fix: str = ""


class Precheck(Contract):
    schema_name = "watchkeeper.dev/precheck/v1"
    problems: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems


class EffectResult(Contract):
    """`code` is enumerated: `http_200` (or its like in another protocol), `already_done`, `nothing_to_do`, `changed`,
    `deadline_passed`, `authority_lost`, `timeout`, `reply_lost`, `in_flight`, `http_5xx`, `bad_reply`."""

    schema_name = "watchkeeper.dev/effect-result/v1"
    effect: Effect
    code: str


class Happened(StrEnum):
    YES = "yes"
    NO = "no"
    PARTLY = "partly"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    """The target holds neither the former values nor ours: somebody else wrote since."""


class Seen(Contract):
    """`observe`'s answer. NO is said only when a call sent before can no longer land."""

    schema_name = "watchkeeper.dev/seen/v1"
    happened: Happened
    state: TargetState
    restored: bool | None = None
    """Of a self-restoring change: whether its postcondition holds by now. None for the other kinds."""


class Grip(StrEnum):
    """Whether the adapter's credential may do something."""

    GRANTED = "granted"
    MISSING = "missing"
    UNKNOWN = "unknown"
    """The target has no way to tell without trying it."""


class Permitted(Contract):
    schema_name = "watchkeeper.dev/permitted/v1"
    permission: str
    grip: Grip


class Adapter(Protocol):
    """One configured target system. `name` is what `Target.adapter` holds, such as `litellm:main`.

    All reads raise AdapterError when the target does not answer; none of them changes anything.
    """

    proven: ClassVar[str]
    """The conformance kit's version that this class has passed; empty when it has not."""

    @property
    def name(self) -> str: ...

    def capabilities(self) -> tuple[Capability, ...]: ...

    async def inspect(self, target: Target) -> TargetState:
        """The target's fields, which of them can be managed, and how many targets of its kind there are."""
        ...

    async def precheck(self, action: Action) -> Precheck:
        """Whether the action could be carried out now; each problem names what to change."""
        ...

    async def dry_run(self, action: Action) -> Change:
        """What the action would do, with the values read now: its inverse is the captured undo. Holds only fields that
        differ, none where the target already is so. Raises RefusedError where `precheck` would name a problem."""
        ...

    async def apply(self, change: Change, key: ActionKey, deadline: datetime) -> EffectResult:
        """Does it once, if every field still holds `before` and the deadline has not passed when it is sent.

        Must run inside `recorder.under(claim=..., may_send=...)`: between that last question and the send there may be
        no other wait than for the connection, whatever was read before; and the deadline is read once more when the
        connection stands. Raises AdapterError when surely nothing was done; a call that was sent and whose result is
        not known is `UNKNOWN`, never an exception and never a failure.
        """
        ...

    async def observe(self, change: Change, key: ActionKey) -> Seen:
        """Did it happen? Changes nothing."""
        ...

    async def permitted(self, permissions: Collection[str]) -> tuple[Permitted, ...]:
        """Which of these (a capability's `permissions`) its credential has. Changes nothing."""
        ...

    async def close(self) -> None:
        """Gives back connections."""
        ...


class Registry:
    """The adapters by name. In production only those are taken that passed this version's conformance kit."""

    def __init__(self, adapters: Iterable[Adapter] = (), *, unproven: Literal["refuse", "allow"] = "refuse") -> None:
        self._adapters: dict[str, Adapter] = {}
        self._unproven = unproven
        for adapter in adapters:
            self.add(adapter)

    def add(self, adapter: Adapter) -> None:
        if adapter.name in self._adapters:
            raise ConflictError(
                f"two adapters are called {adapter.name!r}",
                cause="two gateways in the settings have the same name",
                next_step="watchkeeper config check",
            )
        if adapter.proven != CONFORMANCE and self._unproven == "refuse":
            raise ConfigError(
                f"adapter {adapter.name!r} has not passed {CONFORMANCE}",
                cause="it was written for another version of the contract, or was never run through the kit",
                next_step="see docs/adapters.md, The conformance kit",
            )
        self._adapters[adapter.name] = adapter

    def get(self, name: str) -> Adapter:
        found = self._adapters.get(name)
        if found is None:
            raise NotFoundError(
                f"no adapter is called {name!r}{suggest(name, self._adapters)}",
                cause="it is not in the settings, or `manage` is false",
                next_step="watchkeeper config check",
            )
        return found

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._adapters))

    def capability(self, target: Target, intent: Intent) -> Capability | None:
        """The capability that covers `intent` on `target`, if its adapter has one."""
        found = self.get(target.adapter).capabilities()
        return next((c for c in found if c.intent is intent and c.target_kind == target.kind), None)

    async def close(self) -> None:
        for adapter in self._adapters.values():
            await adapter.close()
