"""Invariant 11 on a running daemon: what it trusts is taken away, and given back.

Each fault is put where it would be: in the database's connections or server, in the ledger's rows, in the clock. Judged
by the gateway's own journal, the pager's deliveries and the ledger; the daemon's word alone proves nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import text, update
from tests.daemon.distrust import Patient, outage, patient
from tests.testbed.postgres import PostgresServer
from tests.testbed.receiver import Receiver
from tests.testbed.stores import tampering, unreachable

from watchkeeper.core.entries import Draft, EntryType, Eviction
from watchkeeper.core.errors import StoreError
from watchkeeper.ledger.tables import ledger_head

Fault = Callable[[Patient], AbstractAsyncContextManager[None]]
SLACK = timedelta(seconds=3)
"""A fault is met at the next use, not at the instant."""


@asynccontextmanager
async def gone(one: Patient) -> AsyncIterator[None]:
    """Neither read nor write: the database's file is not where it was."""
    with unreachable(one.parts.store):
        yield


@asynccontextmanager
async def read_only(one: Patient) -> AsyncIterator[None]:
    """As on a file system that was remounted read-only: everything can be read, nothing appended."""
    async with one.parts.store.write() as tx:
        await tx.execute(text("PRAGMA query_only=ON"))
    yield
    await one.parts.store._writer.dispose()


@asynccontextmanager
async def tampered(one: Patient) -> AsyncIterator[None]:
    """The head in the database is not the one that was signed."""
    store, ledger = one.parts.store, one.parts.ledger
    await one.parts.sequencer.run_once()
    async with tampering(store) as tx:
        head = (await tx.execute(ledger_head.select())).one()
        await tx.execute(update(ledger_head).values(peaks=bytes(len(head.peaks))))
        entry = Eviction(what="test", count=1, reason="so_that_something_waits")
        await ledger.append(tx, Draft(type=EntryType.EVICTION, subject="", data=entry))
    yield
    async with store.write() as tx:
        await tx.execute(update(ledger_head).values(peaks=head.peaks))


def set_wrong(seconds: float) -> Fault:
    @asynccontextmanager
    async def fault(one: Patient) -> AsyncIterator[None]:
        one.clock.off = seconds
        yield
        one.clock.off = 0.0

    return fault


FAULTS: dict[str, tuple[Fault, str]] = {
    "database gone": (gone, "store_unavailable"),
    "database read-only": (read_only, "store_unavailable"),
    "ledger tampered": (tampered, "ledger_unavailable"),
    "clock set back": (set_wrong(-3600), "clock_went_back"),
    "clock set forward": (set_wrong(86_400), "clock_jumped_forward"),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_invariant_11_without_trust_it_watches_and_tells_and_does_nothing(
    name: str, tmp_path: Path, receiver: Receiver
) -> None:
    fault, why = FAULTS[name]
    async with patient(tmp_path, receiver) as one:
        await _is_held(one, fault, why)


@pytest.mark.peer
async def test_invariant_11_without_its_postgresql_server_it_watches_and_tells_and_does_nothing(
    tmp_path: Path, receiver: Receiver, postgres_server: PostgresServer, pg_url: str
) -> None:
    database = sql.Identifier(pg_url.rsplit("/", 1)[1])

    @asynccontextmanager
    async def refused(one: Patient) -> AsyncIterator[None]:
        """No new connection, and the open ones ended: as a server that was stopped."""
        with psycopg.connect(postgres_server.admin_dsn, autocommit=True) as admin:
            admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(database))
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [database.as_string(admin)[1:-1]],
            )
            yield
            admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(database))

    async with patient(tmp_path, receiver, database={"url": pg_url}) as one:
        await _is_held(one, refused, "store_unavailable")


async def test_one_read_that_fails_does_not_end_the_watch(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with patient(tmp_path, receiver) as one:
        read, failed = one.parts.inbox.after, asyncio.Event()

        async def once(offset: int, limit: int) -> Any:
            if not failed.is_set():
                failed.set()
                raise StoreError("a hiccup")
            return await read(offset, limit)

        monkeypatch.setattr(one.parts.inbox, "after", once)
        await failed.wait()
        await one.until(lambda: one.acting, "trust")
        async with outage(one):
            await one.until(lambda: bool(one.effects()), "effect of what was read afterwards")
        assert [gap.reason for gap in await one.gaps()] == ["store_unavailable"]


async def _is_held(one: Patient, fault: Fault, why: str) -> None:
    assert (await one.send_alert()).status_code == 200
    assert one.acting
    began = datetime.now(UTC)
    async with fault(one):
        await one.until(lambda: not one.acting, "distrust")
        async with outage(one):
            await one.until(lambda: bool(one.told("seen_blind")), "blind finding")
            await _stays_held(one, why)
            repaired = datetime.now(UTC)
            refused = one.sent - 1
        known = one.parts.health.gap().signals_seen
        assert known >= refused > 0
    async with outage(one):
        await one.until(lambda: one.acting, "trust")
        back = datetime.now(UTC)
        await _is_recorded(one, why, began, repaired, back, known)
        await one.until(lambda: bool(one.effects()), "effect after the return")
    await one.until(lambda: bool(one.told("acting_resumed")), "word that it acts again")
    assert len(one.told("acting_stopped")) == 1
    assert await one.ledger_holds()


async def _stays_held(one: Patient, why: str) -> None:
    """While it is blind, for several looks whether it still is."""
    replies = [await one.send_alert() for _ in range(3)]
    assert {reply.status_code for reply in replies} == {503}
    assert {reply.headers["retry-after"] for reply in replies} == {"5"}
    ready = await one.api.get("/readyz")
    assert (ready.status_code, ready.json()["why"]) == (503, why)
    await one.blind_rounds(14)
    assert not one.acting
    assert abs(one.parts.clock.now() - datetime.now(UTC)) < SLACK, "a wrong time would be written down"
    assert one.effects() == []
    assert [notice["reason"] for notice in one.told("acting_stopped")] == [why]
    blind = [notice["subject"] for notice in one.told("seen_blind")]
    assert len(blind) == len(set(blind)), "each trouble is told once"
    assert not one.told("escalation")


async def _is_recorded(one: Patient, why: str, began: datetime, repaired: datetime, back: datetime, known: int) -> None:
    """The gaps make one interval, from when it went blind to when it could record again, and tell what was seen."""
    gaps = await one.gaps()
    assert {gap.reason for gap in gaps} == {why}
    assert all(earlier.until == later.since for earlier, later in pairwise(gaps))
    assert began <= gaps[0].since <= repaired
    assert repaired - SLACK <= gaps[-1].until <= back
    assert sum(gap.signals_seen for gap in gaps) >= known
    assert (await one.send_alert()).status_code == 200
