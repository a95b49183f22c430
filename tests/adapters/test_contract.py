"""The registry takes proven adapters only, and the LiteLLM adapter's declarations hold together."""

from __future__ import annotations

from typing import ClassVar

import pytest
from pydantic import SecretStr, ValidationError
from tests.adapters.conformance_suite import action

from watchkeeper.adapters.contract import Adapter, Idempotency, Registry
from watchkeeper.adapters.flights import Flights
from watchkeeper.adapters.kit import KitSink
from watchkeeper.adapters.litellm.adapter import LiteLLMAdapter, LiteLLMConfig
from watchkeeper.adapters.litellm.capabilities import CAPABILITIES, Throttle
from watchkeeper.adapters.recorder import CallRecorder
from watchkeeper.core.actions import ActionKind, Intent, Target
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.errors import ConfigError, ConflictError, NotFoundError
from watchkeeper.core.ids import ActionKey
from watchkeeper.ledger.evidence.redaction import Redactor


class Untried(LiteLLMAdapter):
    proven: ClassVar[str] = ""


def adapter(name: str = "main", make: type[LiteLLMAdapter] = LiteLLMAdapter) -> LiteLLMAdapter:
    config = LiteLLMConfig(name=name, base_url="http://127.0.0.1:9", admin_key=SecretStr("sk-1"))
    clock = ManualClock()
    return make(config, CallRecorder(KitSink(), Redactor(), clock), clock)


async def test_the_registry_finds_by_name_and_by_capability() -> None:
    main: Adapter = adapter()
    registry = Registry([main, adapter("spare")])
    assert registry.names() == ("litellm:main", "litellm:spare")
    assert registry.get("litellm:main") is main
    key = Target(adapter="litellm:main", kind="key", id="0" * 64)
    found = registry.capability(key, Intent.THROTTLE)
    assert found is not None
    assert found.parameters is Throttle
    assert registry.capability(key, Intent.RESTART) is None
    with pytest.raises(NotFoundError, match="did you mean"):
        registry.get("litellm:mein")
    with pytest.raises(ConflictError):
        registry.add(adapter())
    await registry.close()


async def test_an_unproven_adapter_is_refused_unless_asked_for() -> None:
    untried = adapter(make=Untried)
    with pytest.raises(ConfigError, match="has not passed"):
        Registry([untried])
    registry = Registry([untried], unproven="allow")
    assert registry.names() == ("litellm:main",)
    await registry.close()


def test_invariant_5_every_capability_can_be_undone() -> None:
    assert {one.kind for one in CAPABILITIES} == {ActionKind.REVERSIBLE}
    assert {one.idempotency for one in CAPABILITIES} == {Idempotency.OWN_RECORD}
    assert not any(one.precondition for one in CAPABILITIES)
    assert len({(one.intent, one.target_kind) for one in CAPABILITIES}) == len(CAPABILITIES)


@pytest.mark.parametrize("wanted", [{}, {"rpm_limit": -1}, {"rpm_limit": None}, {"rpm_limit": "x"}, {"other": 1}])
def test_parameters_are_closed_and_never_negative(wanted: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Throttle.model_validate(wanted)


async def test_a_target_of_another_adapter_is_refused() -> None:
    made = adapter("other")
    with pytest.raises(NotFoundError, match="not a target of"):
        await made.precheck(action(Intent.THROTTLE, "key", "0" * 64, rpm_limit=1))
    await made.close()


def test_a_flight_may_land_until_it_is_answered_or_long_given_up() -> None:
    clock = ManualClock()
    flights, key = Flights(clock, 5.0), ActionKey("p/0/apply")
    flights.given_up(key)
    assert not flights.may_land(key)
    flights.sent(key)
    clock.advance(3600)
    assert flights.may_land(key)
    flights.given_up(key)
    clock.advance(4.9)
    assert flights.may_land(key)
    clock.advance(0.2)
    assert not flights.may_land(key)
    flights.sent(key)
    flights.answered(key)
    assert not flights.may_land(key)
