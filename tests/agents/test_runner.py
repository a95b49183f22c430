"""The runner's failures: each ends where a person or the daemon's health hears of it, and none stops the driving."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from langgraph.types import Command
from sqlalchemy import update
from tests.testbed.authority import an_operator, entries
from tests.testbed.findings import loop

from watchkeeper.agents import runner as module
from watchkeeper.agents.closing import hand_over
from watchkeeper.agents.incidents import Incident, Incidents, Request, Status
from watchkeeper.agents.outbox import Outbox
from watchkeeper.agents.runner import MAX_ERRORS, MAX_PAUSE_S, Runner
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.entries import EntryType, Escalated
from watchkeeper.core.errors import ConflictError, LedgerError, StoreError, UnavailableError
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.policies.remedies import Remedies
from watchkeeper.store import leases
from watchkeeper.store.engine import Store
from watchkeeper.store.tables import lease as lease_rows


class Graph:
    """A graph that waits, once what it is to do has been done."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.given, self.fails = clock, list[Any](), list[Exception]()
        self.waits, self.meanwhile = False, None

    async def aget_state(self, _: object) -> object:
        waits = SimpleNamespace(value={"until": (self.clock.now() + timedelta(hours=1)).isoformat()})
        return SimpleNamespace(created_at="now", tasks=("wait",), interrupts=(waits,) if self.waits else ())

    async def ainvoke(self, given: Any, *_: object, **__: object) -> None:
        self.given.append(given.resume if isinstance(given, Command) else given)
        if self.fails:
            raise self.fails.pop(0)
        self.waits = True


class Scene:
    def __init__(self, store: Store) -> None:
        self.store, self.clock = store, ManualClock()
        self.ledger = Ledger(store, self.clock, source="test", writer="w")
        self.incidents = Incidents(store, self.ledger, Evidence(store, clock=self.clock), self.clock)
        self.graph, self.stuck, self.distrusted = Graph(self.clock), list[str](), list[str]()
        graph: Any = self.graph
        self.runner = Runner(
            store, self.incidents, self.clock, lambda *_: graph, "me", self._stuck, self.distrusted.append
        )

    async def _stuck(self, incident: Incident, what: str) -> None:
        self.stuck.append(what)

    async def drive(self) -> None:
        await self.runner.run_due()
        await self.runner.settle()

    async def incident(self) -> Incident:
        (found,) = await self.incidents.open_now()
        return found


@pytest.fixture
async def scene(store: Store) -> AsyncIterator[Scene]:
    made = Scene(store)
    await made.incidents.open(loop(), b"{}")
    yield made
    await made.runner.close()


@pytest.mark.parametrize("error", [StoreError("gone"), LedgerError("full")], ids=["store", "ledger"])
async def test_invariant_11_a_database_that_fails_inside_the_graph_is_distrusted_and_is_no_fault_of_the_incident(
    scene: Scene, error: UnavailableError
) -> None:
    scene.graph.fails = [error]
    await scene.drive()
    assert scene.distrusted == [error.code]
    assert (await scene.incident()).errors == 0
    assert await scene.incidents.due(scene.clock.now()) == ()
    scene.clock.advance(10)
    await scene.drive()
    assert len(scene.graph.given) == 2


async def test_invariant_11_a_lease_that_cannot_be_asked_for_is_distrusted(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise StoreError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(leases, "acquire", broken)
        await scene.drive()
    assert (scene.distrusted, scene.graph.given) == (["store_unavailable"], [])
    await scene.drive()
    assert len(scene.graph.given) == 1, "it stayed due"


async def test_acting_that_is_stopped_is_no_failure(scene: Scene) -> None:
    scene.graph.fails = [UnavailableError("acting is stopped")]
    await scene.drive()
    assert (scene.distrusted, (await scene.incident()).errors) == ([], 0)


async def test_what_keeps_failing_is_handed_over_once_and_tried_ever_more_rarely(scene: Scene) -> None:
    scene.graph.fails = [ValueError(str(n)) for n in range(MAX_ERRORS + 10)]
    pauses = []
    for _ in range(MAX_ERRORS + 10):
        await scene.drive()
        incident = await scene.incident()
        assert incident.wake_at is not None
        pauses.append((incident.wake_at - scene.clock.now()).total_seconds())
        scene.clock.advance(pauses[-1])
    assert scene.stuck == ["ValueError"]
    assert pauses == sorted(pauses)
    assert pauses[-1] == MAX_PAUSE_S
    await scene.drive()
    assert (await scene.incident()).errors == 0


async def test_a_conflict_under_our_own_lease_is_a_failure_not_a_handover(scene: Scene) -> None:
    scene.graph.fails = [ConflictError("not ours to settle")]
    await scene.drive()
    assert (await scene.incident()).errors == 1


async def test_a_lease_that_passed_to_another_is_left_to_it(scene: Scene) -> None:
    async def lost(*_: object, **__: object) -> None:
        async with scene.store.write() as tx:
            await tx.execute(update(lease_rows).values(token=lease_rows.c.token + 1, holder="another"))
        raise ConflictError("the lease has passed")

    scene.graph.ainvoke = lost  # type: ignore[method-assign]
    await scene.drive()
    assert (await scene.incident()).errors == 0


async def test_a_lease_is_renewed_after_a_renewal_that_failed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    renewed, acquire, turns = asyncio.Event(), leases.acquire, [0]

    async def shaky(*given: Any) -> Any:
        turns[0] += 1
        if turns[0] == 2:
            raise StoreError("busy")
        if turns[0] == 3:
            renewed.set()
        return await acquire(*given)

    async def until_renewed(*_: object, **__: object) -> None:
        await asyncio.wait_for(renewed.wait(), 20)
        scene.graph.waits = True

    monkeypatch.setattr(leases, "acquire", shaky)
    monkeypatch.setattr(module, "LEASE_S", 0.3)
    scene.graph.ainvoke = until_renewed  # type: ignore[method-assign]
    await scene.drive()
    assert scene.distrusted == ["store_unavailable"]
    assert turns[0] >= 3


async def test_an_order_resumes_a_wait_and_one_that_comes_while_a_node_is_at_work_follows_it(scene: Scene) -> None:
    incident = (await scene.incident()).id
    await scene.incidents.ask(incident, Request.UNDO, an_operator())
    order = (await scene.incident()).order_id
    await scene.drive()
    assert scene.graph.given == [None, order], "first the node that was at work, then the order"
    await scene.drive()
    assert scene.graph.given == [None, order], "an order that was given is not given for ever"


async def test_an_incident_that_is_handed_over_is_escalated_recorded_and_told(scene: Scene) -> None:
    incident = await scene.incident()
    sink: Any = SimpleNamespace(name="pager")
    crew: Any = SimpleNamespace(
        store=scene.store,
        ledger=scene.ledger,
        incidents=scene.incidents,
        remedies=Remedies(scene.store, scene.ledger),
        outbox=Outbox(scene.store, scene.clock, (sink,)),
        now=scene.clock.now,
    )
    await hand_over(crew, incident)
    (told,) = await entries(scene.store, EntryType.ESCALATION)
    assert told == Escalated(incident=incident.id, reason="incident_stuck", notified=("pager",))
    assert (await scene.incident()).status is Status.ESCALATED
    assert (await crew.outbox.status()).waiting == 1
