"""LiteLLM's proxy under the action contract (tried with 1.106.2).

One action is one API call that writes absolute values, so sending it twice would end in the same state. The gateway has
no precondition and knows no idempotency key: between the last look and the send another writer can slip in, and it
would be overwritten. `observe` reads the state back.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import ClassVar

from pydantic import Field, SecretStr, ValidationError

from watchkeeper.adapters.change import compare, same, sendable
from watchkeeper.adapters.contract import (
    CONFORMANCE,
    Capability,
    EffectResult,
    Happened,
    Precheck,
    Problem,
    Seen,
)
from watchkeeper.adapters.flights import Flights
from watchkeeper.adapters.http import HttpTarget
from watchkeeper.adapters.litellm.capabilities import CAPABILITIES, Cap, Fallbacks, Parameters, Weight
from watchkeeper.adapters.litellm.fields import TOKEN_HASH, write_call
from watchkeeper.adapters.litellm.inventory import GatewayReader, Inventory
from watchkeeper.adapters.litellm.problems import parameter_problems, problem
from watchkeeper.adapters.litellm.states import StateReader
from watchkeeper.adapters.recorder import CallRecorder
from watchkeeper.core.actions import Action, Change, FieldChange, Target, TargetState
from watchkeeper.core.clock import Clock
from watchkeeper.core.errors import AdapterError, NotFoundError, RefusedError
from watchkeeper.core.ids import ActionKey
from watchkeeper.core.model import Contract, Scalar
from watchkeeper.core.outcomes import Effect

_EFFECTS = {"ok": Effect.SUCCEEDED, "unknown": Effect.UNKNOWN, "not_sent": Effect.FAILED}


class LiteLLMConfig(Contract):
    """`settle_s`: how long after we gave up waiting a call may still land; until then "not there" is not "no"."""

    name: str
    base_url: str
    admin_key: SecretStr
    reply_s: float = Field(default=4.0, gt=0)
    settle_s: float = Field(default=5.0, ge=0)


class LiteLLMAdapter:
    proven: ClassVar[str] = CONFORMANCE

    def __init__(self, config: LiteLLMConfig, recorder: CallRecorder, clock: Clock) -> None:
        self._name = f"litellm:{config.name}"
        self._http = HttpTarget(self._name, config.base_url, config.admin_key, recorder, clock, reply_s=config.reply_s)
        self._reader = GatewayReader(self._http)
        self._states = StateReader(self._reader, clock)
        self._flights = Flights(clock, config.settle_s)

    @property
    def name(self) -> str:
        return self._name

    def capabilities(self) -> tuple[Capability, ...]:
        return CAPABILITIES

    async def inventory(self) -> Inventory:
        """All that the gateway has, for people and for blast radius."""
        return await self._reader.inventory()

    async def inspect(self, target: Target) -> TargetState:
        self._own(target)
        return await self._states.inspect(target)

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
        self._own(change.target)
        if not sendable(change):
            return EffectResult(effect=Effect.SUCCEEDED, code="nothing_to_do")
        state = await self._states.look(change.target)
        happened = compare(change, state)
        if happened is Happened.YES:
            return EffectResult(effect=Effect.SUCCEEDED, code="already_done")
        if self._flights.may_land(key):
            return EffectResult(effect=Effect.UNKNOWN, code="in_flight")
        if happened is not Happened.NO:
            return EffectResult(effect=Effect.FAILED, code="changed")
        _refuse_unmanageable(change, state)
        return await self._send(change, key, deadline)

    async def observe(self, change: Change, key: ActionKey) -> Seen:
        self._own(change.target)
        state = await self._states.look(change.target)
        happened = compare(change, state)
        if happened is not Happened.YES and self._flights.may_land(key):
            happened = Happened.UNKNOWN
        return Seen(happened=happened, state=state)

    async def close(self) -> None:
        await self._http.close()

    async def _send(self, change: Change, key: ActionKey, deadline: datetime) -> EffectResult:
        try:
            reply = await self._http.write(
                write_call(change),
                deadline,
                headers={"litellm-changed-by": f"watchkeeper:{key}"},
                sending=partial(self._flights.sent, key),
            )
        except AdapterError:
            self._flights.answered(key)
            raise
        except BaseException:
            self._flights.given_up(key)
            raise
        # A 500 is the handler's own last word; every other unknown end leaves it running, for all we know.
        if reply.result == "unknown" and reply.status != 500:
            self._flights.given_up(key)
        else:
            self._flights.answered(key)
        return EffectResult(effect=_EFFECTS[reply.result], code=reply.code)

    async def _assess(self, action: Action) -> tuple[tuple[Problem, ...], Change | None]:
        """The problems, or the change."""
        self._own(action.target)
        capability = next(
            (c for c in CAPABILITIES if c.intent is action.intent and c.target_kind == action.target.kind), None
        )
        if capability is None:
            return (problem("not_capable"),), None
        if action.target.kind == "key" and not TOKEN_HASH.fullmatch(action.target.id):
            return (problem("not_a_key_hash"),), None
        try:
            parameters = capability.parameters.model_validate(dict(action.parameters))
        except ValidationError as error:
            return parameter_problems(error), None
        assert isinstance(parameters, Parameters)
        state = await self._states.inspect(action.target)
        found = _state_problems(state, parameters) or await self._own_problems(action.target, parameters)
        if found:
            return found, None
        return (), _change(action, parameters, state)

    async def _own_problems(self, target: Target, parameters: Parameters) -> tuple[Problem, ...]:
        """What only this kind of action can be wrong about."""
        if isinstance(parameters, Weight) and parameters.weight == 0:
            deployments = await self._reader.deployments()
            group = next((d.group for d in deployments if d.id == target.id), None)
            if not any(d.group == group and d.id != target.id and not d.blocked for d in deployments):
                return (problem("only_deployment", "weight"),)
        if isinstance(parameters, Fallbacks):
            if target.id in parameters.names():
                return (problem("own_fallback", "fallbacks"),)
            groups = {d.group for d in await self._reader.deployments()}
            if not groups.issuperset(parameters.names()):
                return (problem("unknown_group", "fallbacks"),)
        return ()

    def _own(self, target: Target) -> None:
        if target.adapter != self._name:
            raise NotFoundError(
                f"{target} is not a target of {self._name}",
                cause="the plan names another adapter",
                next_step="report this as a bug: the registry chooses the adapter by name",
            )


def _state_problems(state: TargetState, parameters: Parameters) -> tuple[Problem, ...]:
    """A field that is not manageable says more than a target that is not there, so it comes first."""
    wanted = parameters.wanted()
    found = tuple(problem(f.why, f.path) for f in state.fields if f.path in wanted and not f.manageable)
    if found:
        return found
    return () if state.exists else (problem("missing"),)


def _change(action: Action, parameters: Parameters, state: TargetState) -> Change:
    """Only fields that really change: what is not changed is not undone either. None may be left: then `apply` has
    nothing to do."""
    wanted: Mapping[str, Scalar] = parameters.wanted()
    pairs = ((path, state.value(path), value) for path, value in wanted.items())
    fields = tuple(
        FieldChange(path=path, before=before, after=after)
        for path, before, after in (
            (path, before, _tighter(before, value) if isinstance(parameters, Cap) else value)
            for path, before, value in pairs
        )
        if not same(before, after)
    )
    return Change(target=action.target, intent=action.intent, fields=fields)


def _tighter(before: Scalar, wanted: Scalar) -> Scalar:
    if isinstance(before, int | float) and isinstance(wanted, int | float):
        return min(before, wanted)
    return wanted


def _refuse_unmanageable(change: Change, state: TargetState) -> None:
    """Became unmanageable since the plan: the gateway would refuse it, or take it and lose it again."""
    for field in state.fields:
        if not field.manageable and any(f.path == field.path for f in sendable(change)):
            found = problem(field.why, field.path)
            raise AdapterError(
                f"{field.path} of {change.target} cannot be changed ({found.code})",
                retryable=False,
                cause="the gateway's configuration changed since the plan was made",
                next_step=found.fix,
            )
