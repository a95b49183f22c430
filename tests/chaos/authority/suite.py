"""SUITE=authority: executors in processes of their own, killed and frozen at their points and at any moment, whose
clocks differ, while people stop, resume and answer, and the target times out after it acted.

When all are dead, one executor that nothing happens to settles what was left open. Then the judge reads the target's
journal and the ledger, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import signal
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import httpx
import psycopg

from tests.chaos.authority import executor, people, target
from tests.chaos.authority.executor import POINTS, TERMS, Task
from tests.chaos.authority.judge import Line, judge
from tests.chaos.authority.people import Day, Deed
from tests.chaos.authority.target import LANDS_S, Place
from tests.chaos.authority.world import PLANS, Bench, plans
from tests.chaos.ledger_suite import database_of
from tests.chaos.suite import Done, Plan
from tests.testbed.authority import Authority, a_record, scopes_of
from tests.testbed.postgres import postgres_server
from tests.testbed.stores import create_tables
from watchkeeper.core.clock import SystemClock
from watchkeeper.core.decisions import Verdict
from watchkeeper.core.entries import Envelope
from watchkeeper.core.errors import WatchkeeperError
from watchkeeper.core.model import Contract
from watchkeeper.policies.approval.approvals import draft
from watchkeeper.store.engine import Store

EXECUTORS, LIVES = 3, 3
RUN_S, MOST_S, ENOUGH = 2.2, 4.0, 6
BROKEN_MOST_S, BROKEN_ENOUGH = 12.0, 24
"""How long executors and people are at it, once they are up: longer on a machine so busy that the target did less than
this by then, and longer still where something is to go wrong."""
FREEZE_S = (0.7, 1.6)
SKEW_S = 0.15
UP_S, SETTLED_S = 60.0, 30.0
UNHARMED = {"do": "", "killed_after_s": None}
FAVOURED: dict[str, dict[str, Any]] = {
    "no_unique_key": UNHARMED,
    "unlocked_revocation": UNHARMED,
    "ignored_deadline": {"do": "freeze", "at": "looking", "nth": 2, "frozen_s": 1.6, "killed_after_s": None},
}
"""How executors live in builds whose fault shows only then and then, so that a few seeds are enough."""
STOPS = {"unlocked_revocation": 12, "ignored_deadline": 0}
COUNTED = (
    *("kills", "freezes", "claims", "effects", "unknown", "stops", "approved", "landed_listed"),
    *("late_after_a_freeze", "twice_after_a_freeze", "settled_otherwise_after_a_freeze"),
)


class AuthoritySuite:
    """`broken`: one of the builds that must be caught."""

    def __init__(self, database: str, broken: str = "") -> None:
        self._database, self._broken = database, broken

    def plan(self, seed: int) -> Plan:
        rng = random.Random(seed)
        only = FAVOURED.get(self._broken, {})
        alone = self._broken == "ignored_deadline"  # nobody takes over what it holds
        lives = [[_a_life(rng) | only for _ in range(LIVES)] for _ in range(1 if alone else EXECUTORS)]
        asked = sorted(rng.sample(range(PLANS), 3))
        says = ("approved", "approved", "approved", "rejected")
        answers = [{"plan": n, "after_s": round(rng.random() * RUN_S, 3), "what": rng.choice(says)} for n in asked]
        return {
            "seed": seed,
            "lives": lives,
            "off_s": [round(rng.uniform(-SKEW_S, SKEW_S), 3) for _ in range(EXECUTORS)],
            "undone": sorted(rng.sample(range(PLANS), 3)),
            "asked": answers,
            "ttl_s": rng.choice((1, 2, 60)),
            "stopping": _stops(rng, STOPS.get(self._broken, rng.randint(2, 5))),
        }

    @contextmanager
    def opened(self) -> Iterator[Callable[[Plan], dict[str, Any]]]:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.chaos.authority.suite"])
        with ExitStack() as stack:
            server = stack.enter_context(postgres_server()) if self._database == "postgresql" else None

            def run(plan: Plan) -> dict[str, Any]:
                with (
                    tempfile.TemporaryDirectory(prefix="watchkeeper-chaos-") as directory,
                    database_of(server, Path(directory)) as url,
                ):
                    return asyncio.run(_Run(url, Path(directory), plan, self._broken).through())

            yield run

    def counts(self, done: list[Done]) -> dict[str, Any]:
        totals: Counter[str] = Counter()
        for each in done:
            totals.update({name: each.get(name, 0) for name in COUNTED})
        return dict(totals)


def _a_life(rng: random.Random) -> dict[str, Any]:
    at = rng.choice(POINTS)
    return {
        "do": rng.choice(("kill", "kill", "freeze", "freeze", "")),
        "at": at,
        "nth": rng.randint(1, 250) if at == "sql" else rng.randint(1, 8),
        "frozen_s": round(rng.uniform(*FREEZE_S), 3),
        "killed_after_s": rng.choice((None, None, round(rng.random() * RUN_S, 3))),
    }


def _stops(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """Scopes that are taken away for a while, most of them small."""
    plan = plans()[rng.randrange(PLANS)]
    scopes = list(scopes_of(plan))
    found = []
    for _ in range(count):
        scope, at = rng.choice(scopes), rng.random() * RUN_S
        found.append({"after_s": round(at, 3), "what": "stop", "of": scope})
        if rng.random() < 0.8:
            found.append({"after_s": round(at + rng.random() * 0.4, 3), "what": "resume", "of": scope})
    return found


@dataclass
class _Alive:
    """An executor: since when it is up, and since when it is frozen."""

    process: ForkServerProcess
    life: dict[str, Any]
    up: float | None = None
    frozen: float | None = None


class _Run:
    def __init__(self, url: str, directory: Path, plan: Plan, broken: str) -> None:
        self._url, self._directory, self._plan, self._broken = url, directory, plan, broken
        self._socket, self._journal = str(directory / "socket"), directory / "journal"
        self._kills = self._freezes = 0
        self._context = multiprocessing.get_context("forkserver")
        self._approvals: dict[str, str] = {}
        self._up: dict[ForkServerProcess, Connection] = {}

    async def through(self) -> dict[str, Any]:
        store = Store(self._url)
        try:
            await create_tables(store)
            await self._ask(store)
        finally:
            await store.close()
        there = self._started(target.serve, Place(self._socket, str(self._journal), self._plan["seed"]), "target")
        try:
            self._until_up(there)
            await asyncio.to_thread(self._at_it)
            await self._settle_all()
        finally:
            there.kill()
            there.join()
        return self._judged()

    async def _ask(self, store: Store) -> None:
        authority = Authority(store, SystemClock(), writer="asking")
        for each in self._plan["asked"]:
            plan = plans()[each["plan"]]
            record = a_record(plan, Verdict.REQUIRE_APPROVAL, TERMS)
            async with store.write() as tx:
                wanted = draft(plan, record, authority.clock.now(), self._plan["ttl_s"])
                self._approvals[plan.id] = await authority.approvals.request(tx, wanted)

    def _at_it(self) -> None:
        lives = [iter(enumerate(each)) for each in self._plan["lives"]]
        now: dict[int, _Alive] = {}
        crowd: list[ForkServerProcess] = []
        try:
            for n in range(len(lives)):
                now[n] = self._born(n, *next(lives[n]))
            for alive in now.values():
                alive.up = self._until_up(alive.process)
            crowd.append(self._started(people.live, Day(self._url, self._deeds(), self._broken), "people"))
            self._until_up(crowd[0])
            began = time.monotonic()
            while self._goes_on(time.monotonic() - began, anybody=bool(now)):
                time.sleep(0.01)
                for n, alive in list(now.items()):
                    if alive.process.exitcode is None:
                        self._look_after(alive)
                        continue
                    self._gone(now.pop(n).process)
                    following = next(lives[n], None)
                    if following is not None:
                        now[n] = self._born(n, *following)
            self._end([alive.process for alive in now.values()])
        finally:
            for process in (*crowd, *(alive.process for alive in now.values())):
                process.kill()
                process.join()

    def _goes_on(self, seconds: float, *, anybody: bool) -> bool:
        if seconds < RUN_S:
            return True
        most_s, enough = (BROKEN_MOST_S, BROKEN_ENOUGH) if self._broken else (MOST_S, ENOUGH)
        done = sum('"did"' in line for line in _lines(self._journal))
        return anybody and seconds < most_s and done < enough

    def _look_after(self, alive: _Alive) -> None:
        """Wakes it when it was frozen for long enough; kills it when its time has come."""
        now, life = time.monotonic(), alive.life
        if alive.up is None:
            alive.up = now if self._up[alive.process].poll() else None
        elif _stands_still(alive.process):
            alive.frozen = alive.frozen or now
            if now - alive.frozen >= life["frozen_s"]:
                self._freezes += 1
                alive.frozen = None
                _signalled(alive.process, signal.SIGCONT)
        elif life["killed_after_s"] is not None and now - alive.up > life["killed_after_s"]:
            alive.process.kill()

    def _gone(self, process: ForkServerProcess) -> None:
        assert process.exitcode == -signal.SIGKILL, f"{process.name} ended by itself: {process.exitcode}"
        self._kills += 1

    def _end(self, alive: list[ForkServerProcess]) -> None:
        """Who is frozen wakes up and does what it was about to; then all are killed."""
        frozen = [process for process in alive if _stands_still(process)]
        self._kills += len(alive) - len(frozen)
        for process in alive:
            if process not in frozen:
                process.kill()
        for process in frozen:
            self._freezes += 1
            _signalled(process, signal.SIGCONT)
        if frozen:
            time.sleep(3 * LANDS_S)

    def _deeds(self) -> tuple[Deed, ...]:
        stops = [Deed(**each) for each in self._plan["stopping"]]
        answers = [
            Deed(each["after_s"], each["what"], self._approvals[plans()[each["plan"]].id])
            for each in self._plan["asked"]
        ]
        return (*stops, *answers)

    def _born(self, n: int, number: int, life: dict[str, Any]) -> _Alive:
        task = Task(
            url=self._url,
            socket=self._socket,
            words=str(self._directory / "words"),
            name=f"x{n}-{number}",
            seed=self._plan["seed"] * 100 + n * 10 + number,
            off_s=self._plan["off_s"][n],
            approvals=tuple(self._approvals.items()),
            undone=tuple(plans()[each].id for each in self._plan["undone"]),
            do=life["do"],
            at=life["at"],
            nth=life["nth"],
            broken=self._broken,
        )
        return _Alive(self._started(executor.run, task, task.name), life)

    def _started(self, work: Callable[[Any, Connection], None], task: Any, name: str) -> ForkServerProcess:
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=work, args=(task, theirs), name=name, daemon=True)
        process.start()
        self._up[process] = ours
        return process

    def _until_up(self, process: ForkServerProcess) -> float:
        assert self._up[process].poll(UP_S), f"{process.name} did not come up within {UP_S:g} s"
        return time.monotonic()

    async def _settle_all(self) -> None:
        """As the reconciler does: looks, and settles; sends nothing."""
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=self._socket)) as calm:
            await calm.post("http://target/calm", json={"calm": True})
        bench = Bench.over(self._url, self._socket, "settling")
        ends = time.monotonic() + SETTLED_S
        try:
            while claims := await bench.authority.claims.open_claims():
                assert time.monotonic() < ends, f"{[claim.key for claim in claims]} stay open"
                for claim in claims:
                    change = plans()[int(claim.plan.removeprefix("pln_"))].changes[0]
                    try:
                        await bench.executor.reconcile(claim.key, change, "settling")
                    except WatchkeeperError:
                        continue
                await asyncio.sleep(0.05)
        finally:
            await bench.close()

    def _judged(self) -> dict[str, Any]:
        journal = [Line(each["what"], each["key"], each["at"]) for each in map(json.loads, _lines(self._journal))]
        words = [json.loads(line) for line in _lines(self._directory / "words")]
        frozen = frozenset(key for each in words if each["do"] == "freeze" for key in each["after_last_look"])
        off_s = {f"x{n}-{life}": off for n, off in enumerate(self._plan["off_s"]) for life in range(LIVES)}
        verdict = judge(self._entries(), journal, frozen, off_s)
        assert not verdict.problems, "; ".join(verdict.problems)
        return {"kills": self._kills, "freezes": self._freezes, **verdict.counts}

    def _entries(self) -> list[tuple[float, Contract]]:
        """By a client that is not ours, in order of appending."""
        query = "SELECT body FROM ledger_staged ORDER BY id"
        if self._url.startswith("sqlite"):
            with closing(sqlite3.connect(self._url.partition(":///")[2])) as lite:
                rows = lite.execute(query).fetchall()
        else:
            with psycopg.connect(self._url.replace("+psycopg", "", 1)) as server:
                rows = server.execute(query).fetchall()
        told = [Envelope.model_validate_json(bytes(row[0])) for row in rows]
        return [(each.time.timestamp(), each.typed()) for each in told]


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def _stands_still(process: ForkServerProcess) -> bool:
    try:
        return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


def _signalled(process: ForkServerProcess, number: signal.Signals) -> None:
    try:
        os.kill(process.pid or 0, number)
    except ProcessLookupError:
        return
