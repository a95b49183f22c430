"""The pollers' turns: what was polled is durable, and how it went is in the book."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from watchkeeper.bus.memory import MemoryBus
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.errors import StoreError
from watchkeeper.core.subjects import SubjectKind
from watchkeeper.core.topology import Topology
from watchkeeper.daemon.health import Health
from watchkeeper.daemon.polling import Sources
from watchkeeper.signals.inbox import Inbox
from watchkeeper.signals.intake import Intake
from watchkeeper.signals.prometheus import PrometheusConfig, PrometheusPoller, PrometheusQuery
from watchkeeper.signals.sources import SourceBook, SourceReport
from watchkeeper.signals.state import SignalState, StateConfig
from watchkeeper.store.engine import Store

GOOD, BAD = (
    PrometheusQuery(name=name, promql=name, subject_kind=SubjectKind.SERVICE, subject_id="db")
    for name in ("good", "bad")
)


@dataclass
class FakePrometheus:
    """One series that is always 1, and a query that is always refused."""

    clock: ManualClock
    down: bool = False

    def answer(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("refused", request=request)
        if request.url.params["query"] == "bad":
            return httpx.Response(400, json={"status": "error"})
        value = {"metric": {}, "value": [self.clock.now().timestamp(), "1"]}
        return httpx.Response(200, json={"status": "success", "data": {"resultType": "vector", "result": [value]}})


@dataclass
class Polled:
    """A source named `prom`, and what it polls."""

    prometheus: FakePrometheus
    sources: Sources
    book: SourceBook

    async def turn(self) -> SourceReport:
        ((_, _, turn),) = self.sources.turns()
        self.prometheus.clock.advance(1)
        await turn()
        return self.told()

    def told(self) -> SourceReport:
        (found,) = [each for each in self.book.reports() if each.name == "prom"]
        return found


@pytest.fixture(params=[(GOOD,)], ids=["good"])
async def polled(store: Store, request: pytest.FixtureRequest) -> AsyncIterator[Polled]:
    clock = ManualClock()
    bus = MemoryBus(clock)
    config = PrometheusConfig(name="prom", base_url="http://prom", interval_s=1, queries=request.param)
    prometheus = FakePrometheus(clock)
    async with httpx.AsyncClient(transport=httpx.MockTransport(prometheus.answer)) as client:
        book = SourceBook(clock, 120)
        intake = Intake(Inbox(store, clock, 1000), bus, Health(clock), lambda signals, at: None)
        state = SignalState(StateConfig(), Topology(services=(), default_environment="test"))
        poller = PrometheusPoller(config, client, clock)
        yield Polled(prometheus, Sources(intake, book, state, (), (poller,)), book)
    await bus.close()


async def test_a_source_is_lost_and_found_again(polled: Polled) -> None:
    assert (await polled.turn()).signals == 1
    polled.prometheus.down = True
    lost = await polled.turn()
    assert (lost.state, lost.signals, lost.failures) == ("failing", 1, 1)
    assert "could not be asked" in lost.last_error
    polled.prometheus.down = False
    found = await polled.turn()
    assert (found.state, found.signals, found.failures) == ("ok", 2, 1)


@pytest.mark.parametrize("polled", [(GOOD, BAD)], ids=["half"], indirect=True)
async def test_a_query_that_is_refused_is_told_beside_the_others(polled: Polled) -> None:
    told = await polled.turn()
    assert (told.state, told.signals) == ("partial", 1)
    assert told.last_error == "queries.bad: the query was refused by Prometheus"


async def test_invariant_11_a_database_that_is_gone_is_no_fault_of_the_source_alone(
    polled: Polled, store: Store
) -> None:
    async with store.write() as tx:
        await tx.exec_driver_sql("DROP TABLE signal_inbox")
    with pytest.raises(StoreError):
        await polled.turn()
    told = polled.told()
    assert (told.state, told.signals) == ("failing", 0)
