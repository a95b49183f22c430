"""The flow of the action contract, once for all adapters; an adapter brings how its target is read and written.

What it brings: `look` (the fields of one target), `send` (one call that carries a change), and, where its target asks
for it, `wanted`, `own_problems`, `population`, `handled` and `restored`.
It does NOT make two writers safe: where a capability has no `precondition`, another writer can slip in between the
last look and the send.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import ClassVar

from pydantic import ValidationError

from watchkeeper.adapters.change import compare, moved, same, sendable
from watchkeeper.adapters.contract import (
    Capability,
    EffectResult,
    Happened,
    Permitted,
    Precheck,
    Problem,
    Seen,
)
from watchkeeper.adapters.flights import Flights
from watchkeeper.adapters.parameters import Parameters
from watchkeeper.adapters.problems import FIXES, parameter_problems, problem
from watchkeeper.adapters.recorder import Reply
from watchkeeper.core.actions import Action, ActionKind, Change, FieldChange, Intent, Target, TargetState
from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import AdapterError, NotFoundError, RefusedError
from watchkeeper.core.ids import ActionKey
from watchkeeper.core.model import Scalar
from watchkeeper.core.outcomes import Effect

CHANGED = "changed"
TRIES = 3
"""Looks and sends of one apply. The target's own precondition also refuses when something moved that is none of our
fields (a status): then nothing was done, and where our fields still hold, it is sent again."""
_EFFECTS = {"ok": Effect.SUCCEEDED, "unknown": Effect.UNKNOWN, "not_sent": Effect.FAILED}


@dataclass(frozen=True, slots=True)
class Look:
    """One reading. `version` is the target's own token of it (a resourceVersion, an ETag), for targets that refuse a
    write when it has moved."""

    state: TargetState
    version: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """One send: under which key, until when, and what to call when the first byte is about to leave."""

    key: ActionKey
    deadline: datetime
    sending: Callable[[], None]


class TargetAdapter(ABC):
    """`settle_s`: how long after we gave up waiting a call may still land; until then "not there" is not "no"."""

    proven: ClassVar[str] = ""
    declared: ClassVar[tuple[Capability, ...]]
    fixes: ClassVar[Mapping[str, str]] = FIXES

    def __init__(self, name: str, clock: Clock, settle_s: float) -> None:
        self._name, self._clock = name, clock
        self._flights = Flights(clock, settle_s)

    @property
    def name(self) -> str:
        return self._name

    def capabilities(self) -> tuple[Capability, ...]:
        return self.declared

    @abstractmethod
    async def look(self, target: Target, paths: Collection[str] = ()) -> Look:
        """The target's fields, read with as few calls as possible; of fields that are costly to read, those in `paths`.

        Raises InputError for a kind or an id that cannot be, AdapterError when the target does not answer."""

    @abstractmethod
    async def send(self, change: Change, look: Look, order: Order) -> Reply:
        """One call that carries `change`, whose fields all differ from what `look` has seen."""

    @abstractmethod
    async def permitted(self, permissions: Collection[str]) -> tuple[Permitted, ...]: ...

    @abstractmethod
    async def close(self) -> None: ...

    async def population(self, target: Target) -> int:
        """How many things of this kind there are."""
        return 1

    async def own_problems(self, action: Action, parameters: Parameters, state: TargetState) -> tuple[Problem, ...]:
        """What only this kind of action can be wrong about."""
        return ()

    def wanted(self, action: Action, parameters: Parameters, state: TargetState) -> Mapping[str, Scalar]:
        """Field path → value after. Of what is no field to be set, but a mark that an effect moves (a pod's uid, a boot
        id), the value is None: whatever, but not what it was."""
        return parameters.wanted()

    def handled(self, reply: Reply) -> bool:
        """Whether a reply that leaves the effect unknown is the target's last word: then nothing can land any more."""
        return False

    def restored(self, change: Change, state: TargetState) -> bool:
        """Whether the postcondition of a self-restoring change holds."""
        return state.exists

    async def inspect(self, target: Target) -> TargetState:
        self.own(target)
        state = (await self.look(target)).state
        return state.model_copy(update={"population": await self.population(target)}) if state.exists else state

    async def precheck(self, action: Action) -> Precheck:
        problems, _ = await self._assess(action)
        return Precheck(problems=problems)

    async def dry_run(self, action: Action) -> Change:
        problems, change = await self._assess(action)
        if change is None:
            first = problems[0]
            raise RefusedError(
                f"{action.intent} on {action.target} cannot be done ({first.code})",
                reason=first.code,
                cause=f"field {first.path}" if first.path else "the target as a whole",
                next_step=first.fix,
            )
        return change

    async def apply(self, change: Change, key: ActionKey, deadline: datetime) -> EffectResult:
        self.own(change.target)
        if not sendable(change):
            return EffectResult(effect=Effect.SUCCEEDED, code="nothing_to_do")
        for _ in range(TRIES):
            look = await self.look(change.target, _paths(change))
            happened = self.happened(change, look.state)
            if happened is Happened.YES:
                return EffectResult(effect=Effect.SUCCEEDED, code="already_done")
            if self._flights.may_land(key):
                return EffectResult(effect=Effect.UNKNOWN, code="in_flight")
            if happened is not Happened.NO:
                break
            self._refuse_unmanageable(change, look.state)
            result = await self._send(change, look, key, deadline)
            if result.code != CHANGED:
                return result
        return EffectResult(effect=Effect.FAILED, code=CHANGED)

    async def observe(self, change: Change, key: ActionKey) -> Seen:
        self.own(change.target)
        state = (await self.look(change.target, _paths(change))).state
        happened = self.happened(change, state)
        if happened is not Happened.YES and self._flights.may_land(key):
            happened = Happened.UNKNOWN
        restores = self.capability(change.target.kind, change.intent).kind is ActionKind.SELF_RESTORING
        return Seen(happened=happened, state=state, restored=self.restored(change, state) if restores else None)

    def happened(self, change: Change, state: TargetState) -> Happened:
        """Whether `state` is the one after the change."""
        if self.capability(change.target.kind, change.intent).kind is ActionKind.REVERSIBLE:
            return compare(change, state)
        return moved(change, state)

    def capability(self, kind: str, intent: Intent) -> Capability:
        found = self._capability(kind, intent)
        if found is None:
            raise NotFoundError(
                f"{self._name} has no {intent} on {kind}",
                cause="the plan was made for another version of the adapter",
                next_step="watchkeeper adapters matrix",
            )
        return found

    def problem(self, code: str, path: str = "") -> Problem:
        return problem(code, path, self.fixes)

    def own(self, target: Target) -> None:
        if target.adapter != self._name:
            raise NotFoundError(
                f"{target} is not a target of {self._name}",
                cause="the plan names another adapter",
                next_step="report this as a bug: the registry chooses the adapter by name",
            )

    def _capability(self, kind: str, intent: Intent) -> Capability | None:
        return next((c for c in self.declared if c.intent is intent and c.target_kind == kind), None)

    async def _send(self, change: Change, look: Look, key: ActionKey, deadline: datetime) -> EffectResult:
        try:
            reply = await self.send(change, look, Order(key, deadline, partial(self._flights.sent, key)))
        except AdapterError:
            self._flights.answered(key)
            raise
        except BaseException:
            self._flights.given_up(key)
            raise
        if reply.result == "unknown" and not self.handled(reply):
            self._flights.given_up(key)
        else:
            self._flights.answered(key)
        return EffectResult(effect=_EFFECTS[reply.result], code=reply.code)

    async def _assess(self, action: Action) -> tuple[tuple[Problem, ...], Change | None]:
        """The problems, or the change."""
        self.own(action.target)
        capability = self._capability(action.target.kind, action.intent)
        if capability is None:
            return (self.problem("not_capable"),), None
        found = self.id_problems(action.target)
        if found:
            return found, None
        try:
            parameters = capability.parameters.model_validate(dict(action.parameters))
        except ValidationError as error:
            return parameter_problems(error), None
        assert isinstance(parameters, Parameters)
        state = (await self.look(action.target, tuple(parameters.wanted()))).state
        wanted = self.wanted(action, parameters, state) if state.exists else parameters.wanted()
        found = self._state_problems(state, wanted) or await self.own_problems(action, parameters, state)
        if found:
            return found, None
        return (), _change(action, parameters, wanted, state)

    def id_problems(self, target: Target) -> tuple[Problem, ...]:
        """An id that can name nothing."""
        return ()

    def _state_problems(self, state: TargetState, wanted: Mapping[str, Scalar]) -> tuple[Problem, ...]:
        """A field that is not manageable says more than a target that is not there, so it comes first."""
        found = tuple(self.problem(f.why, f.path) for f in state.fields if f.path in wanted and not f.manageable)
        if found:
            return found
        return () if state.exists else (self.problem("missing"),)

    def _refuse_unmanageable(self, change: Change, state: TargetState) -> None:
        """Became unmanageable since the plan: the target would refuse it, or take it and lose it again."""
        touched = _paths(change)
        for field in state.fields:
            if not field.manageable and field.path in touched:
                found = self.problem(field.why, field.path)
                raise AdapterError(
                    f"{field.path} of {change.target} cannot be changed ({found.code})",
                    retryable=False,
                    cause="the target's configuration changed since the plan was made",
                    next_step=found.fix,
                )


def changed() -> Reply:
    """What `send` answers when the target's own precondition refused the write: somebody else was there first."""
    return Reply("not_sent", CHANGED)


def _paths(change: Change) -> tuple[str, ...]:
    return tuple(field.path for field in sendable(change))


def _change(action: Action, parameters: Parameters, wanted: Mapping[str, Scalar], state: TargetState) -> Change:
    """Only fields that really change: what is not changed is not undone either. None may be left: then `apply` has
    nothing to do."""
    fields = tuple(
        FieldChange(path=path, before=before, after=after)
        for path, before, after in (
            (path, state.value(path), parameters.after(state.value(path), value)) for path, value in wanted.items()
        )
        if not same(before, after)
    )
    return Change(target=action.target, intent=action.intent, fields=fields)
