"""The whole loop in simulated time: real detectors, graph, policy, executor, ledger and adapter; modelled callers.

The gateway is the lab's, in this process; its limits and weights are read by the modelled traffic, so what Watchkeeper
does has its effect, and nothing but the manual clock makes time pass. It does not model latency or lost reports.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.testbed.grants import grant, policy
from tests.testbed.labs import MASTER_KEY, LabGateway, open_gateway
from tests.testbed.traffic import START, Caller, Traffic
from watchkeeper.agents import graph
from watchkeeper.agents.checkpoints import sqlite_checkpoints
from watchkeeper.agents.closing import Closing
from watchkeeper.agents.incidents import Incident
from watchkeeper.agents.nodes import table
from watchkeeper.agents.runner import Runner
from watchkeeper.agents.sentry import Sentry
from watchkeeper.agents.steps import Steps
from watchkeeper.agents.watcher import Watcher
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.principals import Principal, PrincipalKind, Role
from watchkeeper.daemon.compose import Parts, compose, sentry
from watchkeeper.daemon.home import Home
from watchkeeper.daemon.settings import RunbookSettings, Settings
from watchkeeper.lab.gateway.rows import key_hash
from watchkeeper.ledger.checks.verify import verify
from watchkeeper.policies import load as policies
from watchkeeper.store import schema

ROUND_S = 2
WHO = Principal(id="simulation", kind=PrincipalKind.DAEMON, roles=(Role.OPERATOR,), authenticated_by="internal")
RUNBOOKS = {
    "throttle-runaway-caller": ("throttle", "key"),
    "fail-over-provider": ("shift_traffic", "deployment"),
}
GRANTS = policy(
    *(
        grant(book, [intent], [kind], environment="sim", service="*", ttl="1h")
        for book, (intent, kind) in RUNBOOKS.items()
    )
)


@dataclass
class Keyed(Caller):
    """A caller whose key the gateway knows."""

    token: str = ""

    @property
    def key(self) -> str:
        return self.token


@dataclass
class Simulation:
    clock: ManualClock
    lab: LabGateway
    traffic: Traffic
    parts: Parts
    sentry: Sentry
    runner: Runner
    refused: int = 0
    """Calls that were turned away by limits."""

    async def go(self, seconds: int) -> None:
        for now, signals in self.traffic.run(seconds):
            self.clock.advance((now - self.clock.now()).total_seconds())
            for caller in self.traffic.callers:
                limit = self.lab.gateway.store.keys[caller.key].rpm_limit
                caller.limit_per_s = None if limit is None else limit // 60
            self.traffic.weights = self.weights()
            for signal in signals:
                self.refused += getattr(signal, "error", None) == "limited"
                self.parts.crew.signals.apply(signal, now)
            for gateway in self.parts.settings.gateways:
                self.parts.book.delivered(gateway.name, len(signals), 0)
            if self.traffic.second % ROUND_S == 0:
                await self.parts.pump.catch_up()
                await self.sentry.round()
                await self.runner.run_due()
                await self.runner.settle()

    @property
    def closing(self) -> Closing:
        crew = self.parts.crew
        return Closing(
            store=crew.store,
            clock=crew.clock,
            incidents=crew.incidents,
            approvals=crew.approvals,
            claims=crew.claims,
            remedies=crew.remedies,
            evidence=crew.evidence,
            trust=crew.trust,
        )

    async def incidents(self) -> tuple[Incident, ...]:
        return await self.parts.crew.incidents.list(include_closed=True, limit=1000)

    def weights(self) -> dict[str, float]:
        """Deployment → the share that the gateway would give it."""
        rows = self.lab.gateway.store.deployments(self.traffic.model)
        return {row.model_id: row.weight or 0.0 for row in rows}

    def effects(self) -> Counter[str]:
        """Action key → effects, by the gateway's own journal."""
        entries = self.lab.gateway.store.journal.entries()
        ours = [each for each in entries if each.changed_by.startswith("watchkeeper:") and each.effect is not None]
        return Counter(each.changed_by for each in ours)

    async def ledger_holds(self) -> bool:
        while await self.parts.sequencer.run_once():
            continue
        return (await verify(self.parts.log, self.parts.signer.verifier.vkey)).ok


@asynccontextmanager
async def open_simulation(
    directory: Path,
    seed: int,
    *,
    database: str | None = None,
    floor_usd_per_min: float = 100,
    runbook: str = "",
    grants: str = GRANTS,
) -> AsyncIterator[Simulation]:
    """`database` is the URL of an empty one; without it, SQLite in the directory. A cost spike is seen from `floor` on:
    by default never, so that a loop is a loop alone. `runbook`: the text of the only one, instead of those shipped."""
    clock = ManualClock(START)
    async with open_gateway(directory / "lab", clock) as lab:
        callers: list[Caller] = []
        for name, runs, turns in (("support", 1.0, 1), ("research", 0.4, 2)):
            token = key_hash(await lab.key(name))
            callers.append(Keyed(name, runs_per_s=runs, turns=turns, token=token))
        traffic = Traffic(seed, callers, model="chat-main")
        settings = _settings(directory, lab, traffic, database, floor_usd_per_min, grants)
        if runbook:
            settings = settings.model_copy(update={"runbooks": _only(directory, runbook)})
        home = Home(settings.data_dir)
        home.open()
        parts = compose(settings, home, clock)
        try:
            await schema.upgrade(parts.store)
            await parts.versions.activate(policies.load(settings.policy.dir or directory), WHO, "simulation")
            async with sqlite_checkpoints(directory / "checkpoints.db") as saver:
                yield _wired(Simulation(clock, lab, traffic, parts, None, None), saver)  # type: ignore[arg-type]
        finally:
            await parts.crew.adapters.close()
            await parts.http.aclose()
            await parts.bus.close()
            await parts.store.close()
            home.close()


def _wired(sim: Simulation, saver: Any) -> Simulation:
    parts, crew = sim.parts, sim.parts.crew

    def graph_for(incident: Any, lease: Any) -> Any:
        steps = Steps(parts.store, parts.clock, incident, lease)
        return graph.build(table.bind(Watcher(crew, incident, steps)), saver)

    async def stuck(incident: Incident, what: str) -> None:
        raise AssertionError(f"{incident.id} is stuck: {what}")

    sim.runner = Runner(parts.store, crew.incidents, parts.clock, graph_for, parts.holder, stuck, parts.health.distrust)
    sim.sentry = sentry(parts, lambda _: None)
    return sim


def _only(directory: Path, runbook: str) -> RunbookSettings:
    books = directory / "runbooks"
    books.mkdir()
    (books / "only.yaml").write_text(runbook)
    return RunbookSettings(dirs=(books,), shipped=False)


def _settings(
    directory: Path, lab: LabGateway, traffic: Traffic, database: str | None, floor_usd_per_min: float, grants: str
) -> Settings:
    granted = directory / "policies"
    granted.mkdir()
    (granted / "grants.yaml").write_text(grants)
    return Settings.model_validate(
        {
            "data_dir": directory / "data",
            "database": {"url": database},
            "environment": "sim",
            "services": [{**entry.model_dump(), "environment": "sim"} for entry in traffic.topology().services],
            "gateways": [{"name": "main", "base_url": lab.url, "admin_key": MASTER_KEY}],
            "policy": {"dir": granted},
            "state": {"bucket_s": 2, "step_s": 4, "lateness_s": 10, "horizon_s": 120, "history_s": 1200},
            "detectors": {
                "token_cost": {"min_history": 6, "floor_usd_per_min": floor_usd_per_min},
                "runaway_loop": {"max_repeats": 10, "silent_s": 10},
                "provider_outage": {"window_s": 8},
            },
            "runbooks": {
                "overrides": {
                    name: {
                        "window_s": 8,
                        "horizons_s": [10, 12],
                        "hold_s": 20,
                        "watch_s": 12,
                        "min_events": 1,
                        "release_steps": [1],
                    }
                    for name in RUNBOOKS
                }
            },
            "timing": {"recheck_s": 4},
        }
    )
