"""The kit catches what it is for: each adapter here is broken in one way, and fails exactly that clause."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import FunctionType
from unittest.mock import patch

import pytest
from tests.adapters.toy import ToyAdapter, toy_example
from tests.testbed.toy import KEY, toy_shop

from watchkeeper.adapters.base import Look
from watchkeeper.adapters.change import compare
from watchkeeper.adapters.conformance import CLAUSES, Clause, ConformanceError, covers_every_capability
from watchkeeper.adapters.contract import EffectResult, Happened, Precheck, Seen
from watchkeeper.adapters.http import WriteCall
from watchkeeper.adapters.kit import INCIDENT, sure
from watchkeeper.adapters.recorder import _scope, under
from watchkeeper.core.actions import Action, Change, Intent, Target, TargetState
from watchkeeper.core.errors import AdapterError, LedgerError
from watchkeeper.core.ids import ActionKey
from watchkeeper.core.outcomes import Effect


class BlindPrecheck(ToyAdapter):
    async def precheck(self, action: Action) -> Precheck:
        return Precheck()


class WritingDryRun(ToyAdapter):
    """Writes what is there already: the fields do not show it."""

    async def dry_run(self, action: Action) -> Change:
        change = await super().dry_run(action)
        if change.intent is Intent.SET_LIMIT:
            former = {field.path: field.before for field in change.fields}
            await self.http._client.patch(f"/lamps/{action.target.id}", json=former)
        return change


class ForgetsUnset(ToyAdapter):
    """Cannot write "unset", so a level that was not there stays."""

    def call(self, change: Change) -> WriteCall:
        kept = tuple(
            field for field in change.fields if field.after is not None or change.intent is not Intent.SET_LIMIT
        )
        return super().call(change.model_copy(update={"fields": kept}))


class SaysRestored(ToyAdapter):
    """What answers is taken for what works."""

    def restored(self, change: Change, state: TargetState) -> bool:
        return state.exists


class Unconditional(ToyAdapter):
    """Declares a precondition and does not use it."""

    def condition(self, look: Look) -> dict[str, str]:
        return {}


class Overwrites(ToyAdapter):
    """Looks, and sends whatever it sees. It has its version from that very look, so the target has no objection."""

    def happened(self, change: Change, state: TargetState) -> Happened:
        found = super().happened(change, state)
        return Happened.NO if found in (Happened.PARTLY, Happened.CHANGED) else found


class SendsAgain(ToyAdapter):
    async def apply(self, change: Change, key: ActionKey, deadline: datetime) -> EffectResult:
        look = await self.look(change.target)
        if compare(change, look.state) is Happened.YES:
            return await self._send(change, look, key, deadline)
        return await super().apply(change, key, deadline)


class TimeoutIsFailure(ToyAdapter):
    async def apply(self, change: Change, key: ActionKey, deadline: datetime) -> EffectResult:
        result = await super().apply(change, key, deadline)
        known = result.effect is not Effect.UNKNOWN or result.code not in ("http_502", "reply_lost", "timeout")
        if known or change.intent is Intent.RESTART:
            return result
        return EffectResult(effect=Effect.FAILED, code=result.code)


class Hopeful(ToyAdapter):
    async def observe(self, change: Change, key: ActionKey) -> Seen:
        seen = await super().observe(change, key)
        return seen.model_copy(update={"happened": Happened.YES}) if seen.happened is Happened.NO else seen


class Impatient(ToyAdapter):
    async def observe(self, change: Change, key: ActionKey) -> Seen:
        with patch.object(self._flights, "may_land", lambda _: False):
            return await super().observe(change, key)


class ReadsDeadlineEarly(ToyAdapter):
    async def apply(self, change: Change, key: ActionKey, deadline: datetime) -> EffectResult:
        if self._clock.now() >= deadline:
            return EffectResult(effect=Effect.FAILED, code="deadline_passed")
        return await super().apply(change, key, deadline + timedelta(seconds=5.5))


class AsksEarly(ToyAdapter):
    async def apply(self, change: Change, key: ActionKey, deadline: datetime) -> EffectResult:
        with under(incident=INCIDENT, claim=_scope.get().claim, may_send=sure):
            return await super().apply(change, key, deadline)


class RawErrors(ToyAdapter):
    async def inspect(self, target: Target) -> TargetState:
        try:
            return await super().inspect(target)
        except AdapterError as error:
            raise RuntimeError("something went wrong") from error


class Pushy(ToyAdapter):
    async def apply(self, change: Change, key: ActionKey, deadline: datetime) -> EffectResult:
        self.http._wire._not_before = 0.0
        return await super().apply(change, key, deadline)


class Unrecorded(ToyAdapter):
    async def apply(self, change: Change, key: ActionKey, deadline: datetime) -> EffectResult:
        try:
            return await super().apply(change, key, deadline)
        except LedgerError:
            return EffectResult(effect=Effect.FAILED, code="not_recorded")


class Talkative(ToyAdapter):
    async def inspect(self, target: Target) -> TargetState:
        try:
            return await super().inspect(target)
        except AdapterError as error:
            raise AdapterError(
                f"{error.what} with {KEY}", retryable=error.retryable, cause=error.cause, next_step=error.next_step
            ) from error


BROKEN: tuple[type[ToyAdapter], ...] = (
    BlindPrecheck,
    WritingDryRun,
    ForgetsUnset,
    SaysRestored,
    Unconditional,
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
NUMBER_OF_CASES = 3


@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
@pytest.mark.parametrize("number", range(NUMBER_OF_CASES))
async def test_the_toy_adapter_conforms(clause: Clause, number: int) -> None:
    async with toy_shop() as (shop, url), toy_example(shop, url) as example:
        await clause(example, example.cases[number])


async def test_every_capability_needs_a_case_and_says_what_it_was_tested_against() -> None:
    async with toy_shop() as (shop, url), toy_example(shop, url) as example:
        covers_every_capability(example)
        assert len(example.cases) == NUMBER_OF_CASES
        for wrong in ({"cases": example.cases[:-1]}, {"against": "real"}):
            with pytest.raises(ConformanceError):
                covers_every_capability(type(example)(**{**vars(example), **wrong}))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "clause"), list(zip(BROKEN, CLAUSES, strict=True)), ids=lambda one: getattr(one, "__name__", "")
)
async def test_a_broken_adapter_fails_exactly_its_clause(make: type[ToyAdapter], clause: FunctionType) -> None:
    failed = set()
    async with toy_shop() as (shop, url):
        for one in CLAUSES:
            for number in range(NUMBER_OF_CASES):
                async with toy_example(shop, url, make) as example:
                    try:
                        await one(example, example.cases[number])
                    except ConformanceError:
                        failed.add(one)
    assert {one.__name__ for one in failed} == {clause.__name__}
