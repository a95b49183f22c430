"""The executor before a gateway: asked last of all whether it may send; what is settled has all that follows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.testbed.authority import Authority, a_change, a_plan, a_reading, a_record, an_operator, entries
from tests.testbed.labs import MASTER_KEY, LabGateway, open_gateway
from tests.testbed.stores import create_tables

from watchkeeper.adapters.contract import Registry
from watchkeeper.adapters.litellm.adapter import LiteLLMAdapter, LiteLLMConfig
from watchkeeper.adapters.recorder import Call, CallRecorder
from watchkeeper.adapters.sink import LedgerCallSink
from watchkeeper.agents.incidents import Incidents, Status
from watchkeeper.agents.remediator.execute import Executor
from watchkeeper.agents.remediator.reconcile import Reconciler
from watchkeeper.agents.remedies import give_back, put_in_force
from watchkeeper.bus.memory import MemoryBus
from watchkeeper.core.claims import MAX_CLAIM_S, EffectPhase
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.entries import EntryType
from watchkeeper.core.errors import NotFoundError, RefusedError
from watchkeeper.core.evidence import EvidenceRef
from watchkeeper.core.outcomes import Effect, EffectOutcome
from watchkeeper.core.plans import Plan
from watchkeeper.core.remedies import RemedyStatus
from watchkeeper.core.signals import Event, EventKind, Signal
from watchkeeper.core.sli import SliStatus
from watchkeeper.lab.gateway.rows import key_hash
from watchkeeper.ledger.evidence.redaction import Redactor
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.policies.claiming.claims import Refusal, Settled
from watchkeeper.signals.inbox import Inbox
from watchkeeper.signals.intake import Intake
from watchkeeper.store.engine import Store

Stop = Callable[[], Awaitable[object]]


class Looking(LiteLLMAdapter):
    """Lets something happen while the target is looked at."""

    meanwhile: Stop | None = None

    async def _send(self, *given: object) -> object:  # type: ignore[override]
        if self.meanwhile is not None:
            await self.meanwhile()
        return await super()._send(*given)  # type: ignore[arg-type]


class Recording(LedgerCallSink):
    """Lets something happen while the request is made durable."""

    meanwhile: Stop | None = None

    async def begin(self, call: Call, media_type: str) -> EvidenceRef:
        kept = await super().begin(call, media_type)
        if call.write and self.meanwhile is not None:
            await self.meanwhile()
        return kept


class Seen(Intake):
    """Keeps its signals in the inbox, unless it is to fail."""

    broken = False

    async def put(self, tx: AsyncConnection, signal: Signal) -> int:
        if self.broken:
            raise OSError("no room")
        return await super().put(tx, signal)


@dataclass
class Scene:
    lab: LabGateway
    clock: ManualClock
    authority: Authority
    adapter: Looking
    sink: Recording
    intake: Seen
    inbox: Inbox
    health: SimpleNamespace
    executor: Executor
    plan: Plan

    def writes(self) -> int:
        return len([each for each in self.lab.journal("/key/update") if each.changed_by.startswith("watchkeeper:")])

    async def changes(self) -> list[Event]:
        found = [signal for _, _, signal in await self.inbox.after(0, 100)]
        return [each for each in found if isinstance(each, Event) and each.kind is EventKind.OWN_EFFECT]

    async def apply(self) -> EffectOutcome:
        also = put_in_force(self.authority.remedies, self.plan, 0, 3600, None, self.clock.now)
        return await self.executor.ensure(partial(self.authority.request, self.plan), self.plan.changes[0], also)

    def reconciler(self, status: Status = Status.ESCALATED) -> Reconciler:
        async def get(*_: object) -> object:
            return SimpleNamespace(status=status)

        async def plan(incident: object, plan: object) -> Plan:
            if plan != self.plan.id:
                raise NotFoundError("of a gateway that is no longer configured")
            return self.plan

        async def decision(*_: object) -> object:
            return a_record(self.plan)

        incidents = cast(Incidents, SimpleNamespace(get=get, plan=plan, decision=decision))
        held, trust = self.authority.remedies, self.authority.trust
        return Reconciler(self.authority.claims, incidents, held, trust, self.executor, self.clock, "reconciler")


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    clock, store = ManualClock(), Store(f"sqlite+aiosqlite:///{tmp_path / 'watchkeeper.db'}")
    await create_tables(store)
    async with open_gateway(tmp_path / "lab", clock) as lab:
        authority = Authority(store, clock)
        sink = Recording(store, authority.ledger, Evidence(store, clock=clock))
        config = LiteLLMConfig(name="main", base_url=lab.url, admin_key=SecretStr(MASTER_KEY), settle_s=0)
        adapter = Looking(config, CallRecorder(sink, Redactor(), clock), clock)
        health, inbox, bus = SimpleNamespace(acting=True, why=""), Inbox(store, clock, 1), MemoryBus(clock)
        intake = Seen(inbox, bus, health, lambda *_: None)
        executor = Executor(authority.claims, Registry([adapter]), clock, health, intake)
        plan = a_plan(changes=[a_change(key_hash(await lab.key("caller")))])
        try:
            yield Scene(lab, clock, authority, adapter, sink, intake, inbox, health, executor, plan)
        finally:
            await adapter.close()
            await bus.close()
            await store.close()


@pytest.mark.parametrize("when", ["looking", "recording"])
async def test_invariant_2_a_stop_between_the_claim_and_the_send_holds_it_back(scene: Scene, when: str) -> None:
    async def stop() -> object:
        return await scene.authority.epochs.stop("all", an_operator())

    where: Looking | Recording = scene.adapter if when == "looking" else scene.sink
    where.meanwhile = stop
    outcome = await scene.apply()
    assert (outcome.effect, outcome.code) == (Effect.FAILED, "authority_lost")
    assert scene.writes() == 0
    assert await scene.authority.remedies.in_force() == ()


async def test_invariant_11_distrust_between_the_claim_and_the_send_holds_it_back(scene: Scene) -> None:
    async def distrust() -> object:
        scene.health.acting = False
        return None

    scene.sink.meanwhile = distrust
    assert (await scene.apply()).code == "authority_lost"
    assert scene.writes() == 0


async def test_invariant_12_every_settled_effect_is_one_change_event(scene: Scene) -> None:
    assert (await scene.apply()).code == "http_200"
    assert (await scene.apply()).code == "http_200"
    (change,) = await scene.changes()
    assert (str(change.subject), change.name, change.active) == (
        f"key:{scene.plan.changes[0].target.id}",
        "throttle",
        True,
    )
    assert scene.writes() == 1


@pytest.mark.parametrize("settled_by", ["the incident", "the reconciler"])
async def test_invariant_12_an_effect_that_is_settled_by_looking_is_a_change_event_too(
    scene: Scene, settled_by: str
) -> None:
    scene.intake.broken = True
    with pytest.raises(OSError, match="no room"):
        await scene.apply()
    assert scene.writes() == 1
    assert await scene.changes() == []
    scene.intake.broken = False
    scene.clock.advance(30)
    if settled_by == "the incident":
        assert (await scene.apply()).code == "observed"
    else:
        assert await scene.reconciler().run_once() == 1
    assert [each.active for each in await scene.changes()] == [True]
    assert scene.writes() == 1


async def test_an_effect_that_is_settled_is_in_force_or_neither_is_true(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at the settling of an effect that turned out to have happened, it is settled again, and owed back."""
    await scene.authority.taken(scene.plan)
    await scene.lab.admin.post("/key/update", json={"key": scene.plan.changes[0].target.id, "rpm_limit": 10})
    scene.clock.advance(30)

    async def killed(*_: object) -> None:
        raise OSError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(scene.authority.remedies, "record", killed)
        with pytest.raises(OSError, match="killed"):
            await scene.reconciler().run_once()
    assert await entries(scene.authority.store, EntryType.EFFECT) == []
    scene.clock.advance(30)
    assert await scene.reconciler().run_once() == 1
    (remedy,) = await scene.authority.remedies.in_force()
    assert (remedy.incident, remedy.change) == (scene.plan.incident, scene.plan.changes[0])
    assert await scene.reconciler().run_once() == 0


async def test_an_incident_that_is_at_work_settles_its_own_effects(scene: Scene) -> None:
    await scene.authority.taken(scene.plan)
    scene.clock.advance(30)
    assert await scene.reconciler(Status.ACTING).run_once() == 0
    assert len(await scene.authority.claims.open_claims()) == 1


@pytest.mark.parametrize(
    ("phase", "limit", "status", "given_back"),
    [
        (EffectPhase.UNDO, None, RemedyStatus.UNDONE, 1.0),
        (EffectPhase.RELEASE, 20, RemedyStatus.RELEASING, 0.5),
    ],
)
async def test_what_was_given_back_while_nobody_looked_is_no_longer_in_force(
    scene: Scene, phase: EffectPhase, limit: int | None, status: RemedyStatus, given_back: float
) -> None:
    await scene.apply()
    await scene.authority.taken(scene.plan, phase=phase, breach=None)
    await scene.lab.admin.post("/key/update", json={"key": scene.plan.changes[0].target.id, "rpm_limit": limit})
    scene.clock.advance(30)
    assert await scene.reconciler().run_once() == 1
    (remedy,) = await scene.authority.remedies.of_incident(scene.plan.incident)
    assert (remedy.status, remedy.given_back) == (status, given_back)


async def test_invariant_4_a_claim_that_a_crash_left_behind_is_taken_over_with_a_breach_read_after_the_wait(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait is longer than a reading is good for."""
    await scene.authority.taken(scene.plan, holder="dead")
    began = scene.clock.now()

    async def sleep(until: datetime) -> None:
        scene.clock.advance((until - scene.clock.now()).total_seconds())

    monkeypatch.setattr(scene.executor, "_sleep_until", sleep)
    outcome = await scene.apply()
    assert outcome.effect is Effect.SUCCEEDED
    assert (scene.clock.now() - began).total_seconds() >= MAX_CLAIM_S
    assert scene.writes() == 1


async def test_invariant_4_a_restart_that_leaves_the_breach_unread_does_not_end_the_effect(scene: Scene) -> None:
    """What surely was not done stays to be done: it is asked for again once the breach can be read."""
    await scene.authority.taken(scene.plan, holder="dead")
    scene.clock.advance(30)
    unread = a_reading(scene.clock.now(), SliStatus.INCONCLUSIVE)
    ask = partial(scene.authority.request, scene.plan, breach=unread)
    with pytest.raises(RefusedError) as refused:
        await scene.executor.ensure(ask, scene.plan.changes[0])
    assert refused.value.reason == Refusal.BREACH_UNKNOWN
    scene.clock.advance(30)
    assert (await scene.apply()).effect is Effect.SUCCEEDED
    assert scene.writes() == 1


async def test_an_open_effect_that_cannot_be_looked_at_does_not_hold_up_the_others(scene: Scene) -> None:
    gone = a_plan("pln_gone", "inc_gone", [a_change("k-gone")])
    await scene.authority.taken(gone)
    await scene.authority.taken(scene.plan)
    scene.clock.advance(30)
    assert await scene.reconciler().run_once() == 1


async def test_an_undo_that_finds_somebody_elses_value_touches_nothing(scene: Scene) -> None:
    await scene.apply()
    (held,) = await scene.authority.remedies.in_force()
    await scene.lab.admin.post("/key/update", json={"key": scene.plan.changes[0].target.id, "rpm_limit": 77})
    ask = partial(scene.authority.request, scene.plan, phase=EffectPhase.UNDO, breach=None)
    also = give_back(scene.authority.remedies, held, 1.0, "undo")
    outcome = await scene.executor.ensure(ask, held.change.inverse(), also)
    assert (outcome.effect, outcome.code) == (Effect.FAILED, "changed")
    assert await scene.authority.claims.takeover((await ask()).key, "other") == Settled(outcome)
    assert (await scene.authority.remedies.get(held.id)).status is RemedyStatus.LOST
    assert scene.writes() == 1
