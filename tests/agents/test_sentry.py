"""One finding that cannot be recorded holds up no other, and is not silent; blind, each trouble is told once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from tests.testbed.findings import loop, outage, spike
from tests.testbed.ledgers import Log

from watchkeeper.agents import sentry as module
from watchkeeper.agents.detector.drafting import Detected
from watchkeeper.agents.incidents import Incidents
from watchkeeper.agents.outbox import Outbox, SinkError
from watchkeeper.agents.sentry import Sentry
from watchkeeper.agents.usage import AgentUsage
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.entries import EntryType
from watchkeeper.core.errors import StoreError
from watchkeeper.core.findings import Finding
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.policies.remedies import Remedies
from watchkeeper.store.engine import Store

TOO_LONG = "x" * 70_000


class Pager:
    name = "pager"

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.broken = False

    async def send(self, dedup: str, body: str) -> None:
        if self.broken:
            raise SinkError("broken")
        self.heard.append(json.loads(body))


class Signals:
    def tick(self, now: object) -> None:
        """Nothing ages here."""

    def evictions(self) -> tuple[()]:
        return ()


class Sees:
    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = findings

    def evaluate(self, *_: object) -> tuple[Detected, ...]:
        return tuple(Detected(each, b"{}") for each in self.findings)


class Room:
    def __init__(self, store: Store, *findings: Finding) -> None:
        self.clock, self.pager = ManualClock(), Pager()
        self.log = Log(store, self.clock)
        self.outbox = Outbox(store, self.clock, (self.pager,))
        self.incidents = Incidents(store, self.log.ledger, Evidence(store, clock=self.clock), self.clock)
        signals: Any = Signals()
        detectors: Any = Sees(findings)
        self.sentry = Sentry(
            store,
            self.log.ledger,
            signals,
            detectors,
            self.incidents,
            Remedies(store, self.log.ledger),
            self.outbox,
            self.clock,
            AgentUsage(store, self.clock),
            lambda _: None,
        )


async def test_a_finding_too_large_for_the_ledger_is_counted_and_told_once_and_the_others_are_recorded(
    store: Store,
) -> None:
    room = Room(store, loop(state_digest=TOO_LONG), outage())
    assert await room.sentry.round() == 1
    assert await room.sentry.round() == 0
    assert [each.mode for each in await room.incidents.list()] == ["provider_outage"]
    await room.outbox.send_due("pager")
    (notice,) = room.pager.heard
    assert (notice["kind"], notice["reason"], notice["mode"]) == (
        "finding_not_recorded", "unrecordable", "runaway_loop",
    )  # fmt: skip
    await room.log.sequencer.run_once()
    (counted,) = [each.envelope.data for each in await room.log.reader.find(types=(EntryType.EVICTION,))]
    assert counted == {"what": "finding", "count": 1, "reason": "unrecordable"}


async def test_a_database_that_is_gone_ends_the_round(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(store, loop(), outage())

    async def gone(*_: object) -> None:
        raise StoreError("gone")

    monkeypatch.setattr(room.incidents, "open", gone)
    with pytest.raises(StoreError):
        await room.sentry.round()


async def test_what_could_not_be_counted_in_the_ledger_is_counted_later(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room(store, loop(state_digest=TOO_LONG))
    await room.sentry.round()

    async def gone(*_: object) -> None:
        raise StoreError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(room.log.ledger, "append", gone)
        with pytest.raises(StoreError):
            await room.sentry.round()
    await room.sentry.round()
    await room.log.sequencer.run_once()
    assert len(await room.log.reader.find(types=(EntryType.EVICTION,))) == 1


async def test_invariant_11_blind_each_trouble_is_told_once_until_trust_is_back(store: Store) -> None:
    room = Room(store, loop(), outage())
    room.pager.broken = True
    await room.sentry.blind_round(room.clock.now())
    room.pager.broken = False
    for _ in range(3):
        await room.sentry.blind_round(room.clock.now())
    assert [each["mode"] for each in room.pager.heard] == ["runaway_loop", "provider_outage"]
    assert await room.incidents.list() == ()
    await room.sentry.round()
    await room.sentry.blind_round(room.clock.now())
    assert len(room.pager.heard) == 4, "another blind time, another word"


async def test_what_is_remembered_of_blind_findings_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TOLD", 2)
    room = Room(store, loop(), outage(), spike())
    await room.sentry.blind_round(room.clock.now())
    assert len(room.pager.heard) == 3
    assert len(room.sentry._told_blind) == 2
