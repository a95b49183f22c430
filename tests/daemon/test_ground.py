"""Invariant 11 on a daemon that is a process of its own: the ground itself gives way under it.

A full disk is a full file system, a read-only one is one that broke, the clock is the one the process is shown. Judged
by the gateway's journal, the pager, the senders' replies and the record afterwards: nothing is done meanwhile, it is
said why, and what was acknowledged is still there.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from pydantic import JsonValue
from tests.testbed import rig, worlds
from tests.testbed.disks import breakable_disk, small_disk
from tests.testbed.grants import grant, policy
from tests.testbed.polling import eventually
from tests.testbed.postgres import PostgresServer
from tests.testbed.receiver import Receiver
from tests.testbed.scene import Scene
from tests.testbed.worlds import Lab

from watchkeeper.core.entries import EntryType

pytestmark = pytest.mark.timeout(300)

POLICY = policy(grant("fail-over-provider", ["shift_traffic"], ["deployment"], environment="bench"))
PACE: JsonValue = {"window_s": 6, "horizons_s": [12], "hold_s": 1, "release_steps": [1], "watch_s": 2}
STATE: JsonValue = {"bucket_s": 1, "step_s": 2, "lateness_s": 60, "horizon_s": 240, "history_s": 600}
"""What came in is kept for twice the lateness: long enough to look whether it is all there."""
WAIT_S = 90.0
BATCH = 40

Fault = AbstractContextManager[None]
Rows = Callable[[], list[bytes]]


@dataclass
class Watch:
    """A daemon under watch itself."""

    at: rig.Address
    on: Scene[Lab]
    receiver: Receiver
    rows: Rows
    """The bodies in its inbox, read past the daemon."""
    sent: int = 0
    acknowledged: int = 0

    def send(self) -> int:
        """Some alerts, each another one; the status of the reply."""
        first = self.sent
        self.sent += BATCH
        alerts = [
            {
                "status": "firing",
                "labels": {"alertname": f"Sent{n:06d}", "service": "chat"},
                "startsAt": datetime.now(UTC).isoformat(),
                "endsAt": "0001-01-01T00:00:00Z",
                "fingerprint": f"{n:016x}",
            }
            for n in range(first, self.sent)
        ]
        body = {"version": "4", "groupKey": "{}", "status": "firing", "receiver": "watchkeeper", "alerts": alerts}
        headers = {"Authorization": f"Bearer {self.at.token_file.read_text().strip()}"}
        with httpx.Client(base_url=self.at.url, headers=headers, timeout=30, trust_env=False) as http:
            reply = http.post("/v1/alerts/alertmanager", json=body)
        if reply.status_code == 503:
            assert reply.headers["retry-after"] == "5"
            self.sent = first  # to be sent again
        else:
            assert reply.status_code == 200
            self.acknowledged = self.sent
        return reply.status_code

    def ready(self) -> tuple[int, str]:
        reply = httpx.get(f"{self.at.url}/readyz", timeout=30, trust_env=False)
        return reply.status_code, str(reply.json()["why"])

    def told(self, kind: str) -> list[dict[str, Any]]:
        notices = [json.loads(each.body) for each in self.receiver.deliveries]
        return [notice for notice in notices if notice["kind"] == kind]

    def lost(self) -> list[int]:
        """What was acknowledged and is not in the inbox."""
        kept = b"\n".join(self.rows())
        return [n for n in range(self.acknowledged) if f"Sent{n:06d}".encode() not in kept]

    def log(self) -> str:
        return (self.at.directory / "daemon.log").read_text()


@contextmanager
def running(
    at: rig.Address, world: Lab, sight: rig.Sight, program: Sequence[str] = ("watchkeeper.cli.main",)
) -> Iterator[Scene[Lab]]:
    with rig.daemon(at, world.watched, sight, program) as daemon:
        sources = eventually(lambda: daemon.api.get("/v1/status")["health"]["sources"], timeout_s=WAIT_S)
        assert "gateway" in sources
        yield Scene(world, daemon.api, daemon.api)


def sight_of(directory: Path, receiver: Receiver, **changed: JsonValue) -> rig.Sight:
    folder = directory / "policies"
    folder.mkdir()
    (folder / "policy.yaml").write_text(POLICY)
    return {
        **rig.FAST,
        "state": STATE,
        "policy": {"dir": str(folder)},
        "notify": [{"name": "pager", "url": f"{receiver.url}/page"}],
        "runbooks": {"overrides": {"fail-over-provider": PACE}},
        **changed,
    }


@contextmanager
def watch(
    directory: Path,
    receiver: Receiver,
    rows: Rows,
    *,
    data: Path,
    program: Sequence[str] = ("watchkeeper.cli.main",),
    **changed: JsonValue,
) -> Iterator[Watch]:
    """The data directory may lie on another disk than the daemon's log."""
    at = replace(rig.address(data), directory=directory)
    with (
        worlds.lab(directory, at, seed=5, batch_write_s=1.0) as world,
        running(at, world, sight_of(directory, receiver, **changed), program) as on,
    ):
        yield Watch(at, on, receiver, rows)


def stands_through(one: Watch, fault: Fault, why: str, *, wholly: bool = True) -> None:
    """A fault that comes before the outage and is lifted while it lasts. Not `wholly`: what is small enough may still
    be recorded now and then, and then it may act."""
    assert one.send() == 200
    began = datetime.now(UTC)
    with fault:
        eventually(lambda: one.send() == 503, timeout_s=WAIT_S)
        one.on.world.break_provider(True)
        eventually(lambda: one.told("seen_blind"), timeout_s=WAIT_S)
        assert one.send() == 503
        assert one.ready() == (503, why)
        assert {notice["reason"] for notice in one.told("acting_stopped")} == {why}
        if wholly:
            assert len(one.told("acting_stopped")) == 1
            assert one.on.world.effects() == []
        lifted = datetime.now(UTC)
    eventually(lambda: one.ready()[0] == 200, timeout_s=WAIT_S)
    acted = eventually(lambda: one.on.world.drained(began), timeout_s=WAIT_S)
    assert acted >= lifted or not wholly
    is_whole(one, why)


def is_whole(one: Watch, why: str) -> None:
    """After it acts again: nothing acknowledged is lost, the gap is on record, and the incident comes to its end."""
    (held, *_) = eventually(lambda: one.on.api.get("/v1/remedies"), timeout_s=WAIT_S)
    eventually(lambda: one.on.recovered(held["incident"]), timeout_s=WAIT_S)
    one.on.world.break_provider(False)
    assert one.lost() == []
    entries = [each["envelope"] for each in one.on.api.get("/v1/ledger/entries", limit=1000)]
    assert {each["data"]["reason"] for each in entries if each["type"] == EntryType.GAP} == {why}
    assert one.on.ledger_holds()
    assert one.on.api.post("/v1/ledger/replay", {})["differed"] == []
    eventually(lambda: one.told("acting_resumed"), timeout_s=WAIT_S)
    assert '"event": "acting_stopped"' in one.log()


def sqlite_rows(data: Path) -> list[bytes]:
    with sqlite3.connect(f"file:{data / 'watchkeeper.db'}?mode=ro", uri=True) as opened:
        return [row[0] for row in opened.execute("SELECT body FROM signal_inbox")]


def postgres_rows(dsn: str) -> list[bytes]:
    with psycopg.connect(dsn) as opened:
        return [bytes(row[0]) for row in opened.execute("SELECT body FROM signal_inbox")]


def test_invariant_11_a_full_disk_stops_acting_and_loses_nothing(tmp_path: Path, receiver: Receiver) -> None:
    """The ledger's file and LangGraph's are on it."""
    with small_disk(tmp_path / "disk", 24) as disk:

        @contextmanager
        def full() -> Iterator[None]:
            disk.fill()
            yield
            disk.free()

        data = disk.path / "data"
        with watch(tmp_path, receiver, partial(sqlite_rows, data), data=disk.path) as one:
            stands_through(one, full(), "store_unavailable")


STEPS = 2
"""Effects of the whole fail-over: both deployments' weights. A plan that is cut in between is undone instead."""


def test_invariant_11_a_disk_that_fills_up_in_the_middle_of_an_incident(tmp_path: Path, receiver: Receiver) -> None:
    """The remedy is in force; nothing is released while nothing can be recorded, and everything once it can."""
    with small_disk(tmp_path / "disk", 24) as disk:
        data = disk.path / "data"
        with watch(tmp_path, receiver, partial(sqlite_rows, data), data=disk.path) as one:
            one.on.world.break_provider(True)
            eventually(lambda: len(one.on.world.effects()) >= STEPS, timeout_s=WAIT_S)
            disk.fill()
            eventually(lambda: one.send() == 503, timeout_s=WAIT_S)
            done = one.on.world.effects()
            one.on.world.break_provider(False)
            eventually(lambda: one.log().count("still_not_trusted") >= 3, timeout_s=WAIT_S)
            assert one.on.world.effects() == done
            disk.free()
            ended = eventually(lambda: one.on.incident("provider_outage", "closed"), timeout_s=WAIT_S)
            assert ended["resolution"] == "recovered"
            assert len(one.on.world.effects()) > len(done), "what was held is given back"
            assert one.on.ledger_holds()


def test_invariant_11_a_disk_that_broke_is_read_only_and_after_its_repair_nothing_is_lost(
    tmp_path: Path, receiver: Receiver
) -> None:
    """A broken file system is repaired while nobody has it open: the daemon is stopped for that, and started again."""
    with breakable_disk(tmp_path / "disk", 48) as disk:
        data = disk.path / "data"
        at = replace(rig.address(disk.path), directory=tmp_path)
        sight = sight_of(tmp_path, receiver)
        with worlds.lab(tmp_path, at, seed=5, batch_write_s=1.0) as world:
            with running(at, world, sight) as on:
                one = Watch(at, on, receiver, partial(sqlite_rows, data))
                assert one.send() == 200
                disk.break_down()
                eventually(lambda: one.send() == 503, timeout_s=WAIT_S)
                world.break_provider(True)
                eventually(lambda: one.told("seen_blind"), timeout_s=WAIT_S)
                assert one.ready() == (503, "store_unavailable")
                assert [notice["reason"] for notice in one.told("acting_stopped")] == ["store_unavailable"]
                assert world.effects() == []
            disk.repair()
            with running(at, world, sight) as on:
                one.on = on
                assert eventually(world.effects, timeout_s=WAIT_S)
                world.break_provider(False)
                assert one.lost() == []
                assert on.ledger_holds()


@pytest.mark.peer
def test_invariant_11_a_read_only_postgresql_stops_acting_and_loses_nothing(
    tmp_path: Path, receiver: Receiver, postgres_server: PostgresServer
) -> None:
    database = postgres_server.fresh_database()

    @contextmanager
    def read_only() -> Iterator[None]:
        """As a standby, or a primary whose keeper has fenced it."""
        for wanted in ("on", "off"):
            set_to = f"ALTER DATABASE {database.name} SET default_transaction_read_only = {wanted}"
            end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database.name}'"
            with psycopg.connect(postgres_server.admin_dsn, autocommit=True) as admin:
                admin.execute(set_to.encode())
                admin.execute(end.encode())
            if wanted == "on":
                yield

    url: JsonValue = {"url": database.url}
    rows = partial(postgres_rows, database.dsn)
    with watch(tmp_path, receiver, rows, data=tmp_path, database=url) as one:
        stands_through(one, read_only(), "store_unavailable")
    postgres_server.drop_database(database)


@pytest.mark.peer
def test_invariant_11_a_full_disk_under_postgresql_stops_acting_and_loses_nothing(
    tmp_path: Path, receiver: Receiver, postgres_server: PostgresServer
) -> None:
    reachable = Path(tempfile.mkdtemp(prefix="watchkeeper-disk-"))  # the server's user cannot enter pytest's directory
    reachable.chmod(0o755)
    with small_disk(reachable / "disk", 48) as disk, postgres_server.database_on(disk.path) as database:

        @contextmanager
        def full() -> Iterator[None]:
            disk.fill()
            yield
            disk.free()

        url: JsonValue = {"url": database.url}
        rows = partial(postgres_rows, database.dsn)
        with watch(tmp_path, receiver, rows, data=tmp_path, database=url) as one:
            stands_through(one, full(), "store_unavailable", wholly=False)
    shutil.rmtree(reachable)


def test_invariant_11_a_clock_set_back_under_a_running_process(tmp_path: Path, receiver: Receiver) -> None:
    """The process reads its wall clock from a file here: tests/testbed/skewed.py."""
    clock = tmp_path / "clock"
    clock.write_text("0")

    @contextmanager
    def set_back() -> Iterator[None]:
        clock.write_text("-3600")
        yield
        clock.write_text("0")

    rows = partial(sqlite_rows, tmp_path / "data")
    with watch(tmp_path, receiver, rows, data=tmp_path, program=("tests.testbed.skewed", str(clock))) as one:
        stands_through(one, set_back(), "clock_went_back")
