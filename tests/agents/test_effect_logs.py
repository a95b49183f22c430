"""Whatever is logged while an effect is made carries the plan and the action's key."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import structlog
from tests.testbed.entries import CHANGE, CLAIM, EPOCHS, INCIDENT, PLAN, T0, a_decision, a_plan

from watchkeeper.agents.effects import effect_all
from watchkeeper.agents.records import Decided
from watchkeeper.agents.remediator.execute import Ask
from watchkeeper.agents.watcher import Watcher
from watchkeeper.core.actions import Change
from watchkeeper.core.claims import EffectPhase
from watchkeeper.core.outcomes import Effect, EffectOutcome
from watchkeeper.policies.claiming.claims import Also


class LoggingExecutor:
    """Keeps what a log line from inside it would be bound to."""

    bound: dict[str, object] | None = None

    async def ensure(self, ask: Ask, change: Change, also: Also) -> EffectOutcome:
        self.bound = structlog.contextvars.get_contextvars()
        request = await ask()
        return EffectOutcome(claim=CLAIM, key=request.key, fence=1, effect=Effect.SUCCEEDED, code="ok", at=T0)


async def test_an_effects_log_lines_carry_incident_plan_and_action() -> None:
    executor = LoggingExecutor()

    async def nothing(*_: object) -> None:
        return None

    async def decided(*_: object) -> Decided:
        return Decided(record=a_decision(), epochs=EPOCHS)

    async def seen(*_: object) -> object:
        return EPOCHS

    crew = SimpleNamespace(
        executor=executor, epochs=SimpleNamespace(seen=seen), holder="h", timing=SimpleNamespace(claim_s=5.0)
    )
    watch = cast(Watcher, SimpleNamespace(crew=crew, decided=decided, steps=SimpleNamespace(recorded=nothing)))
    with structlog.contextvars.bound_contextvars(incident=INCIDENT):
        phase = await effect_all(watch, {}, a_plan(), EffectPhase.UNDO, {0: CHANGE}, 0, lambda _: nothing)
    assert [effect.effect for effect in phase.done.effects] == [Effect.SUCCEEDED]
    assert executor.bound == {"incident": INCIDENT, "plan": PLAN, "action": f"{PLAN}/0/undo"}
    assert structlog.contextvars.get_contextvars() == {}
