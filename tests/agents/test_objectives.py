"""Objectives through the whole loop in simulated time: calls are counted, a burning budget decides, and says so."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.testbed.authority import entries
from tests.testbed.grants import grant, policy
from tests.testbed.simulated import Simulation, open_simulation
from tests.testbed.traffic import START

from watchkeeper.agents.objectives import Counting
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.decisions import DecisionRecord, Reason, Verdict
from watchkeeper.core.entries import EntryType
from watchkeeper.core.objectives import BUCKET_S, Objective
from watchkeeper.core.signals import Sample
from watchkeeper.core.subjects import Subject, SubjectKind
from watchkeeper.core.topology import Topology
from watchkeeper.policies.budgets.service import ErrorBudgets
from watchkeeper.policies.budgets.tables import objective_bucket
from watchkeeper.signals.sources import SourceBook, SourceKind
from watchkeeper.signals.state import SignalState, StateConfig
from watchkeeper.store.engine import Store

pytestmark = pytest.mark.timeout(300)
RUNBOOK = "throttle-runaway-caller"


def _grants() -> str:
    given = grant(RUNBOOK, ["throttle"], ["key"], environment="sim", service="*", ttl="1h")
    burning = {"apiVersion": "watchkeeper.dev/v1", "kind": "Limit", "metadata": {"name": "burning"}}
    burning["spec"] = {
        "failurePolicy": "RequireApproval",
        "errorBudgets": [{"objective": "served", "maxBurn": [{"rate": 14.4, "long": "10m", "short": "5m"}]}],
    }
    return policy(given, burning)


@pytest.fixture
async def sim(tmp_path: Path) -> AsyncIterator[Simulation]:
    async with open_simulation(tmp_path, seed=3, grants=_grants()) as made:
        yield made


def service_of(sim: Simulation) -> str:
    return next(each.name for each in sim.parts.settings.services if "research" in each.agents)


async def decided(sim: Simulation, bad: float | None) -> DecisionRecord:
    """With half an hour of counted events behind it, none if `bad` is None."""
    service = service_of(sim)
    objective = Objective(name="served", service=service, environment="sim", target=0.99)
    sim.parts.crew.budgets.objectives = (objective,)
    if bad is not None:
        async with sim.parts.store.write() as tx:
            now = int(sim.clock.now().timestamp()) // BUCKET_S
            about = {"environment": "sim", "service": service, "objective": "served", "total": 100.0, "bad": bad}
            for bucket in range(now - 6, now + 3):
                await tx.execute(objective_bucket.insert().values(bucket=bucket, **about))
    sim.traffic.caller("research").looping = True
    await sim.go(30)
    found = [each for each in await entries(sim.parts.store, EntryType.DECISION) if isinstance(each, DecisionRecord)]
    return found[-1]


async def test_a_budget_that_burns_too_fast_asks_a_person_and_is_recorded(sim: Simulation) -> None:
    await sim.go(60)
    record = await decided(sim, bad=20)
    assert record.decision.verdict is Verdict.REQUIRE_APPROVAL
    assert {each.reason for each in record.decision.blocking} == {Reason.BURNS_TOO_FAST}
    (reading,) = record.input.budgets
    assert [round(burn.rate, 1) for burn in reading.burns] == [20.0, 20.0]


async def test_one_that_burns_slowly_lets_it_act(sim: Simulation) -> None:
    await sim.go(60)
    record = await decided(sim, bad=1)
    assert record.decision.verdict is Verdict.ALLOW


async def test_one_that_nobody_counted_is_not_good(sim: Simulation) -> None:
    await sim.go(60)
    record = await decided(sim, bad=None)
    assert record.decision.verdict is Verdict.REQUIRE_APPROVAL


async def test_calls_are_counted_by_bucket_and_again_while_they_may_change(sim: Simulation) -> None:
    service = service_of(sim)
    objective = Objective(name="served", service=service, environment="sim", target=0.99)
    budgets = ErrorBudgets(sim.parts.store, sim.clock, [objective])
    counting = Counting(budgets, sim.parts.crew.signals, sim.parts.book, sim.clock)
    for _ in range(12):
        await sim.go(BUCKET_S // 6)
        await counting.run_once()
    (reading,) = await budgets.readings(objective.scope, {"served": (BUCKET_S,)}, sim.clock.now())
    assert [burn.rate for burn in reading.burns] == [0.0]
    async with sim.parts.store.read() as tx:
        rows = (await tx.execute(select(objective_bucket).order_by(objective_bucket.c.bucket))).all()
    assert rows
    assert all(row.total > 50 and row.bad == 0 for row in rows), rows


async def test_calls_of_a_time_in_which_a_gateway_could_not_be_read_are_not_known(store: Store) -> None:
    clock = ManualClock(START)
    objective = Objective(name="served", service="chat", target=0.99)
    budgets = ErrorBudgets(store, clock, [objective])
    state, book = SignalState(StateConfig(), Topology()), SourceBook(clock, StateConfig().lateness_s)
    counting = Counting(budgets, state, book, clock)
    book.expect("gateway", SourceKind.GATEWAY, 5.0)
    for minute in range(20):
        clock.advance(60)
        if not 5 <= minute < 10:
            book.delivered("gateway", 0, 0)
            level = Sample(
                id=f"s{minute}",
                source="litellm/gateway",
                at=clock.now(),
                name="state",
                subject=Subject(kind=SubjectKind.DEPLOYMENT, id="d"),
                value=0.0,
            )
            state.apply(level, clock.now())
        await counting.run_once()
    async with store.read() as tx:
        rows = (await tx.execute(select(objective_bucket.c.bucket).order_by(objective_bucket.c.bucket))).scalars()
    assert [bucket - int(START.timestamp()) // BUCKET_S for bucket in rows] == [0, 2, 3]


async def test_a_pair_of_series_is_counted_when_it_is_told_in_time(store: Store) -> None:
    clock = ManualClock(START)
    state = SignalState(StateConfig(), Topology())
    objective = Objective(name="up", service="chat", target=0.99, bad_series="bad", total_series="all")
    budgets = ErrorBudgets(store, clock, [objective])
    counting = Counting(budgets, state, SourceBook(clock, state.config.lateness_s), clock)
    subject = Subject(kind=SubjectKind.SERVICE, id="chat")
    for step in range(2 * BUCKET_S // 15):
        clock.advance(15)
        for name, value in (("bad", 2.0), ("all", 100.0)):
            sample = Sample(
                id=f"{name}{step}", source="prometheus:p", at=clock.now(), name=name, subject=subject, value=value
            )
            state.apply(sample, clock.now())
        if step % 4 == 0:
            await counting.run_once()
    clock.advance(30)
    await counting.run_once()
    (reading,) = await budgets.readings(objective.scope, {"up": (BUCKET_S,)}, clock.now())
    assert [round(burn.rate, 3) for burn in reading.burns] == [2.0]
    assert clock.now() - START > timedelta(seconds=BUCKET_S)
    assert json.loads(objective.model_dump_json())["bad_series"] == "bad"
