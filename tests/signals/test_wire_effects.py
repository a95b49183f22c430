"""Our own effects as events, and prices."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from watchkeeper.core.actions import Intent, Target
from watchkeeper.core.ids import ActionKey, ClaimId
from watchkeeper.core.outcomes import Effect, EffectOutcome
from watchkeeper.core.signals import EventKind, Usage
from watchkeeper.signals.changes import own_effect
from watchkeeper.signals.pricing import price

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def outcome(effect: Effect) -> EffectOutcome:
    return EffectOutcome(claim=ClaimId("c1"), key=ActionKey("k1"), fence=3, effect=effect, code="http_200", at=NOW)


@pytest.mark.parametrize(
    ("effect", "active"), [(Effect.SUCCEEDED, True), (Effect.UNKNOWN, True), (Effect.FAILED, False)]
)
def test_an_effect_is_an_event_of_its_own(effect: Effect, active: bool) -> None:
    event = own_effect(outcome(effect), Target(adapter="litellm:main", kind="key", id="ab12"), Intent.SET_LIMIT)
    assert (event.kind, event.source, event.name, event.active) == (
        EventKind.OWN_EFFECT,
        "watchkeeper",
        "set_limit",
        active,
    )
    assert str(event.subject) == "key:ab12"
    assert dict(event.labels) == {
        "adapter": "litellm:main",
        "code": "http_200",
        "effect": effect.value,
        "kind": "key",
    }


def test_an_effect_that_is_known_later_is_told_again() -> None:
    target = Target(adapter="litellm:main", kind="key", id="ab12")
    ids = {own_effect(outcome(effect), target, Intent.BLOCK).id for effect in Effect}
    assert len(ids) == len(Effect)


def test_a_thing_of_no_kind_of_ours_is_told_of_its_gateway() -> None:
    event = own_effect(outcome(Effect.SUCCEEDED), Target(adapter="litellm:main", kind="router", id="r"), Intent.BLOCK)
    assert str(event.subject) == "gateway:litellm:main"


def test_prices() -> None:
    usage = Usage(input=1_000_000, output=0)
    known = price("gpt-4o", usage)
    assert known is not None
    assert 0.1 < known < 100
    assert price("openai/gpt-4o", usage) == known
    assert price("gpt-4o", Usage(input=1_000_000, cached=1_000_000)) != known
    assert price("gpt-4o", Usage()) == 0
    assert price("gpt-4o", Usage(input=10, cached=100)) is not None


@pytest.mark.parametrize("model", ["", "/", "a-model-of-our-own", "provider/", "x" * 5000])
def test_an_unknown_model_has_no_price(model: str) -> None:
    assert price(model, Usage(input=10, output=10)) is None
