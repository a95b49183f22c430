"""A crash at any write of the planner's place: the incident goes on from there, and comes to its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.testbed.findings import loop
from tests.testbed.stores import create_tables

from watchkeeper.agents import graph
from watchkeeper.agents.checkpoints import sqlite_checkpoints
from watchkeeper.agents.incidents import Incident, Incidents
from watchkeeper.agents.runner import Runner
from watchkeeper.agents.state import WatchState
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.ids import IncidentId
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.store.engine import Store

WAY = ("triage", "diagnose", "propose", "decide", "execute", "verify", "wait", "hold", "close")
"""The nodes that one incident comes by."""


class Killed(Exception):
    """The process is gone: nothing is written after this."""


class Planner:
    """Drives one incident through a real graph over a real file of checkpoints."""

    def __init__(self, directory: Path, store: Store) -> None:
        self.directory, self.clock = directory, ManualClock()
        ledger = Ledger(store, self.clock, source="test", writer="w")
        self.store = store
        self.incidents = Incidents(store, ledger, Evidence(store, clock=self.clock), self.clock)
        self.seen: list[str] = []
        self.writes = 0

    async def drive(self, killed_at: int | None) -> None:
        """Once, with every write of the planner's place from the `killed_at`-th on failing."""
        async with sqlite_checkpoints(self.directory / "checkpoints.db") as saver:
            self._count(saver, killed_at)
            built = graph.build({name: self._node(name) for name in graph.EDGES if name != "wait"}, saver)
            runner = Runner(self.store, self.incidents, self.clock, lambda *_: built, "me", self._stuck, lambda _: None)
            await runner.run_due()
            await runner.settle()
            await runner.close()

    def _count(self, saver: Any, killed_at: int | None) -> None:
        def counted(write: Callable[..., Any]) -> Callable[..., Any]:
            async def call(*given: Any, **named: Any) -> Any:
                self.writes += 1
                if killed_at is not None and self.writes >= killed_at:
                    raise Killed
                return await write(*given, **named)

            return call

        saver.aput, saver.aput_writes = counted(saver.aput), counted(saver.aput_writes)

    def _node(self, name: str) -> Any:
        async def node(state: WatchState) -> WatchState:
            self.seen.append(name)
            following = WAY[WAY.index(name) + 1] if name in WAY[:-1] else ""
            if following == "wait":
                until = (self.clock.now() + timedelta(seconds=30)).isoformat()
                return {"next": "wait", "wait_until": until, "after": "hold"}
            if name == "close":
                async with self.store.write() as tx:
                    await self.incidents.close(tx, IncidentId(state["incident"]), "recovered")
                return {}
            return {"next": following}

        return node

    async def _stuck(self, incident: Incident, what: str) -> None:
        raise AssertionError(f"{incident.id} is stuck: {what}")

    async def closed(self) -> bool:
        return not await self.incidents.open_now()

    async def to_the_end(self, killed_at: int | None) -> None:
        await self.drive(killed_at)
        for _ in range(4):
            self.clock.advance(60)
            await self.drive(None)


@asynccontextmanager
async def planner(directory: Path) -> AsyncIterator[Planner]:
    directory.mkdir(exist_ok=True)
    store = Store(f"sqlite+aiosqlite:///{directory / 'watchkeeper.db'}")
    await create_tables(store)
    made = Planner(directory, store)
    await made.incidents.open(loop(), b"{}")
    try:
        yield made
    finally:
        await store.close()


async def test_a_crash_at_any_write_of_the_planners_place_leaves_an_incident_that_comes_to_its_end(
    tmp_path: Path,
) -> None:
    async with planner(tmp_path / "whole") as whole:
        await whole.to_the_end(None)
        assert await whole.closed()
        assert whole.seen == [name for name in WAY if name != "wait"]
    assert whole.writes > 2 * len(WAY)
    for killed_at in range(1, whole.writes + 1):
        async with planner(tmp_path / str(killed_at)) as crashed:
            await crashed.to_the_end(killed_at)
            assert await crashed.closed(), f"killed at write {killed_at}: {crashed.seen}"


async def test_crashes_one_after_another_do_not_stop_it(tmp_path: Path) -> None:
    async with planner(tmp_path) as crashed:
        for _ in range(3):
            await crashed.drive(crashed.writes + 5)
            crashed.clock.advance(60)
        await crashed.to_the_end(None)
        assert await crashed.closed()
