"""The kit catches what it is for: each adapter here is broken in one way, and fails exactly that clause."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
from tests.adapters.conformance_suite import MakeAdapter, lab_example
from tests.testbed.labs import MASTER_KEY, open_gateway

from watchkeeper.adapters.change import compare
from watchkeeper.adapters.conformance import CLAUSES, ConformanceError
from watchkeeper.adapters.contract import EffectResult, Happened, Precheck, Seen
from watchkeeper.adapters.kit import INCIDENT, sure
from watchkeeper.adapters.litellm.adapter import LiteLLMAdapter
from watchkeeper.adapters.recorder import _scope, under
from watchkeeper.core.actions import Action, Change, Target, TargetState
from watchkeeper.core.errors import AdapterError, LedgerError
from watchkeeper.core.ids import ActionKey
from watchkeeper.core.outcomes import Effect


class BlindPrecheck(LiteLLMAdapter):
    async def precheck(self, action: Action) -> Precheck:
        return Precheck()


class WritingDryRun(LiteLLMAdapter):
    """Writes what is there already: the fields do not show it."""

    async def dry_run(self, action: Action) -> Change:
        change = await super().dry_run(action)
        former = {field.path: field.before for field in change.fields}
        await self._http._client.post("/key/update", json={"key": action.target.id, **former})
        return change


class ForgetsUnset(LiteLLMAdapter):
    """Cannot write "unset", so a limit that was not there stays."""

    async def apply(self, change: Change, key: ActionKey, deadline: datetime) -> EffectResult:
        kept = tuple(field for field in change.fields if field.after is not None)
        return await super().apply(change.model_copy(update={"fields": kept}), key, deadline)


class Overwrites(LiteLLMAdapter):
    async def apply(self, change: Change, key: ActionKey, deadline: datetime) -> EffectResult:
        happened = compare(change, await self._states.look(change.target))
        if happened in (Happened.PARTLY, Happened.CHANGED):
            return await self._send(change, key, deadline)
        return await super().apply(change, key, deadline)


class SendsAgain(LiteLLMAdapter):
    async def apply(self, change: Change, key: ActionKey, deadline: datetime) -> EffectResult:
        if compare(change, await self._states.look(change.target)) is Happened.YES:
            return await self._send(change, key, deadline)
        return await super().apply(change, key, deadline)


class TimeoutIsFailure(LiteLLMAdapter):
    async def apply(self, change: Change, key: ActionKey, deadline: datetime) -> EffectResult:
        result = await super().apply(change, key, deadline)
        return EffectResult(effect=Effect.FAILED, code=result.code) if result.effect is Effect.UNKNOWN else result


class Hopeful(LiteLLMAdapter):
    async def observe(self, change: Change, key: ActionKey) -> Seen:
        seen = await super().observe(change, key)
        return seen.model_copy(update={"happened": Happened.YES}) if seen.happened is Happened.NO else seen


class Impatient(LiteLLMAdapter):
    async def observe(self, change: Change, key: ActionKey) -> Seen:
        with patch.object(self._flights, "may_land", lambda _: False):
            return await super().observe(change, key)


class ReadsDeadlineEarly(LiteLLMAdapter):
    async def apply(self, change: Change, key: ActionKey, deadline: datetime) -> EffectResult:
        if self._http._clock.now() >= deadline:
            return EffectResult(effect=Effect.FAILED, code="deadline_passed")
        return await super().apply(change, key, deadline + timedelta(seconds=5.5))


class AsksEarly(LiteLLMAdapter):
    async def apply(self, change: Change, key: ActionKey, deadline: datetime) -> EffectResult:
        with under(incident=INCIDENT, claim=_scope.get().claim, may_send=sure):
            return await super().apply(change, key, deadline)


class RawErrors(LiteLLMAdapter):
    async def inspect(self, target: Target) -> TargetState:
        try:
            return await super().inspect(target)
        except AdapterError as error:
            raise RuntimeError("something went wrong") from error


class Pushy(LiteLLMAdapter):
    async def apply(self, change: Change, key: ActionKey, deadline: datetime) -> EffectResult:
        self._http._not_before = 0.0
        return await super().apply(change, key, deadline)


class Unrecorded(LiteLLMAdapter):
    async def apply(self, change: Change, key: ActionKey, deadline: datetime) -> EffectResult:
        try:
            return await super().apply(change, key, deadline)
        except LedgerError:
            return EffectResult(effect=Effect.FAILED, code="not_recorded")


class Talkative(LiteLLMAdapter):
    async def inspect(self, target: Target) -> TargetState:
        try:
            return await super().inspect(target)
        except AdapterError as error:
            raise AdapterError(
                f"{error.what} with {MASTER_KEY}",
                retryable=error.retryable,
                cause=error.cause,
                next_step=error.next_step,
            ) from error


BROKEN: tuple[type[LiteLLMAdapter], ...] = (
    BlindPrecheck,
    WritingDryRun,
    ForgetsUnset,
    Overwrites,
    SendsAgain,
    TimeoutIsFailure,
    Hopeful,
    Impatient,
    ReadsDeadlineEarly,
    AsksEarly,
    RawErrors,
    Pushy,
    Unrecorded,
    Talkative,
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "clause"), list(zip(BROKEN, CLAUSES, strict=True)), ids=lambda one: getattr(one, "__name__", "")
)
async def test_a_broken_adapter_fails_exactly_its_clause(tmp_path: Path, make: MakeAdapter, clause: object) -> None:
    failed = []
    async with open_gateway(tmp_path) as lab:
        for one in CLAUSES:
            async with lab_example(lab, make) as (made, found):
                try:
                    await one(made, found["key-throttle"])
                except ConformanceError:
                    failed.append(one)
    assert failed == [clause]
