"""The daemon's life: start in order, watch, stop in order. kill -9 at any point is survived by what `start` does.

Start: lock the home, migrate, install the first policy, restore the signal state, open the checkpoints, serve the API,
start the jobs. Nothing acts before the ledger has taken the start's own entry.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph

from watchkeeper import __version__
from watchkeeper.agents import graph
from watchkeeper.agents.checkpoints import postgres_checkpoints, sqlite_checkpoints
from watchkeeper.agents.closing import hand_over
from watchkeeper.agents.editing import Editing
from watchkeeper.agents.forget import Forgetter
from watchkeeper.agents.incidents import Incident
from watchkeeper.agents.nodes import table
from watchkeeper.agents.objectives import Counting
from watchkeeper.agents.roster import Roster
from watchkeeper.agents.runner import Runner
from watchkeeper.agents.steps import Steps
from watchkeeper.agents.stopping import Stopping
from watchkeeper.agents.summons import Summons
from watchkeeper.agents.watcher import Watcher
from watchkeeper.api.app import create
from watchkeeper.api.services import HealthReport, Services
from watchkeeper.core.clock import Clock, SystemClock
from watchkeeper.core.entries import DaemonStarted, Draft, EntryType
from watchkeeper.core.errors import UnavailableError
from watchkeeper.core.ids import IncidentId
from watchkeeper.core.principals import Principal, PrincipalKind, Role
from watchkeeper.daemon.calendar import Calendar
from watchkeeper.daemon.compose import Parts, compose, secrets_of, sentry
from watchkeeper.daemon.database import Guarding, libpq, prepare
from watchkeeper.daemon.errands import Errands
from watchkeeper.daemon.home import Home
from watchkeeper.daemon.jobs import Duty, Jobs
from watchkeeper.daemon.logs import configure
from watchkeeper.daemon.sequencing import SEQUENCE_S, Sequencing
from watchkeeper.daemon.settings import Settings
from watchkeeper.daemon.trust import CHECK_S, Trust
from watchkeeper.daemon.witnesses import EVERY_S as WITNESS_S
from watchkeeper.ledger.checks.fsck import fsck
from watchkeeper.ledger.checks.verify import verify
from watchkeeper.policies import load as policies
from watchkeeper.store.leases import Lease

log = structlog.get_logger(__name__)

SELF = Principal(id="watchkeeper", kind=PrincipalKind.DAEMON, roles=(Role.OPERATOR,), authenticated_by="internal")
DUE_S = 0.5
INBOX_S = 1.0
SUMMON_S, STOPPING_S = 2.0, 1.0
SAVE_S = 15.0
COUNT_S = 60.0
PRUNE_S = 60.0
TIDY = "*/10 * * * *"
PRUNE_EVIDENCE = "20 * * * *"
ARCHIVE = "40 3 * * *"


class Daemon:
    def __init__(self, parts: Parts, saver: BaseCheckpointSaver[str]) -> None:
        self._parts, self._saver = parts, saver
        crew = parts.crew
        self._runner = Runner(
            parts.store,
            crew.incidents,
            parts.clock,
            self._graph_for,
            parts.holder,
            self._stuck,
            parts.health.distrust,
        )
        self._forgetter = Forgetter(parts.store, crew.incidents, parts.claims, crew.remedies, saver, parts.clock)
        self._sentry = sentry(parts, self._opened)
        batch_s = parts.settings.timing.approval_batch_s
        self._summons = Summons(parts.store, crew.incidents, crew.approvals, crew.outbox, parts.clock, batch_s)
        self._stopping = Stopping(parts.store, crew.incidents, crew.stops, parts.clock)
        self._trust = Trust(
            parts.store,
            parts.ledger,
            parts.sequencer,
            parts.log,
            parts.health,
            crew.outbox,
            parts.clock,
            parts.settings.environment,
            parts.witnesses.vouch,
        )
        self._jobs = Jobs(parts.leader, parts.health)
        self._calendar = Calendar(self._jobs)
        self._errands = Errands()
        self._tasks: set[asyncio.Task[None]] = set()
        self._guarding = Guarding.TRIGGERS

    def _graph_for(self, incident: IncidentId, lease: Lease) -> CompiledStateGraph[Any, Any, Any, Any]:
        steps = Steps(self._parts.store, self._parts.clock, incident, lease)
        return graph.build(table.bind(Watcher(self._parts.crew, incident, steps)), self._saver)

    async def start(self) -> None:
        parts = self._parts
        self._guarding = await prepare(parts.settings, parts.store, parts.pruner)
        await self._jobs.run("ask witnesses", parts.witnesses.look)
        await self._first_policy()
        await parts.tokens.keep(parts.home.local_token(), "local-admin", PrincipalKind.PERSON, (Role.ADMIN,))
        await self._record_start()
        await parts.pump.restore()
        self._spawn(self._follow(), "inbox bells")
        self._schedule()
        self._jobs.start()
        self._calendar.start()

    async def stop(self) -> None:
        """Finishes what is being written, keeps the state, gives back leases. A second call does nothing."""
        self._calendar.stop()
        await self._jobs.stop()
        await self._errands.stop()
        await self._runner.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        parts = self._parts
        with contextlib.suppress(UnavailableError):  # stopping because the database is gone is no reason to fail
            await parts.pump.save()
            if parts.health.acting:
                await parts.sequencer.run_turn()
            await parts.leader.resign()
        await parts.crew.adapters.close()
        await parts.http.aclose()
        await parts.bus.close()
        await parts.store.close()
        await parts.pruner.close()

    def services(self) -> Services:
        parts, crew = self._parts, self._parts.crew
        vkey = parts.signer.verifier.vkey

        return Services(
            clock=parts.clock,
            tokens=parts.tokens,
            intake=parts.intake,
            book=parts.book,
            incidents=crew.incidents,
            approvals=crew.approvals,
            claims=parts.claims,
            epochs=crew.epochs,
            remedies=crew.remedies,
            trust=crew.trust,
            budgets=crew.budgets,
            roster=Roster(crew.promotions, crew.usage, crew.epochs),
            rollouts=crew.rollouts,
            editing=self._editing(),
            stopping=self._stopping,
            outbox=crew.outbox,
            versions=parts.versions,
            log=parts.log,
            evidence=parts.evidence,
            eraser=parts.eraser,
            upkeep=parts.upkeep,
            alertmanager=parts.settings.alertmanager,
            health=self.health,
            verify=partial(verify, parts.log, vkey),
            fsck=partial(fsck, parts.log, vkey),
            vkey=vkey,
            witnessing=parts.witnesses,
            store=parts.store,
            guarding=self._guarding,
        )

    def _editing(self) -> Editing:
        parts, crew = self._parts, self._parts.crew
        return Editing(
            parts.store, parts.clock, crew.incidents, crew.approvals, crew.edits, crew.planner, parts.evidence
        )

    def health(self) -> HealthReport:
        health = self._parts.health
        sources = {each.name: each.state.value for each in self._parts.book.reports()}
        return HealthReport(acting=health.acting, why=health.why, since=health.since, sources=sources)

    async def _first_policy(self) -> None:
        if await self._parts.versions.history(limit=1):
            return
        chosen = self._parts.settings.policy
        documents = policies.load(chosen.dir) if chosen.dir is not None else policies.pack(chosen.pack)
        await self._parts.versions.activate(documents, SELF, "installed at the first start")

    async def _record_start(self) -> None:
        parts = self._parts
        data = DaemonStarted(
            version=__version__,
            settings_digest=parts.settings.digest(),
            policy_version=(await parts.versions.active()).version,
            log_origin=parts.settings.ledger.origin,
        )
        async with parts.store.write() as tx:
            await parts.ledger.append(tx, Draft(type=EntryType.STARTED, subject="", data=data))

    def _schedule(self) -> None:
        parts, jobs = self._parts, self._jobs
        sequencing = Sequencing(parts.sequencer, parts.ledger, parts.clock)
        jobs.every(CHECK_S, "trust", self._trust.check, Duty.ALWAYS)
        jobs.every(INBOX_S, "inbox", parts.pump.catch_up, Duty.ALWAYS)
        for witness in parts.witnesses.clients:
            jobs.every(WITNESS_S, f"witness {witness.config.name}", witness.turn, Duty.SERVE)
        jobs.every(SEQUENCE_S, "sequence", sequencing.turn, Duty.SERVE)
        jobs.every(DUE_S, "incidents", self._runner.run_due, Duty.SERVE)
        jobs.every(parts.settings.detect_every_s, "detect", self._detect, Duty.WATCH)
        for sink in parts.crew.outbox.sinks:
            jobs.every(1.0, f"notify {sink}", partial(parts.crew.outbox.send_due, sink), Duty.WATCH)
        jobs.every(SUMMON_S, "summon", self._summons.run_once)
        jobs.every(STOPPING_S, "undo under a stop", self._stopping.run_once)
        jobs.every(10.0, "reconcile", parts.reconciler.run_once)
        counting = Counting(parts.crew.budgets, parts.crew.signals, parts.book, parts.clock)
        jobs.every(COUNT_S, "objectives", counting.run_once)
        jobs.every(SAVE_S, "save", parts.pump.save)
        jobs.every(PRUNE_S, "prune", self._prune)
        self._calendar.at(TIDY, "forget", self._forgetter.run_once)
        self._calendar.at(TIDY, "tidy outbox", parts.crew.outbox.prune)
        upkeep = parts.upkeep
        begin = self._errands.begin
        self._calendar.at(PRUNE_EVIDENCE, "prune evidence", begin("prune evidence", upkeep.evidence.run_once))
        if upkeep.archivist is not None:
            self._calendar.at(ARCHIVE, "archive", begin("archive", upkeep.archivist.run_once))
        for name, seconds, turn in parts.sources.turns():
            jobs.every(seconds, f"poll {name}", turn, Duty.WATCH)

    async def _follow(self) -> None:
        """Reads the inbox as soon as it grew; should a bell be missed, the job finds the signals."""
        async for bell in self._parts.pump.bells():
            await self._jobs.run("inbox", self._parts.pump.catch_up)
            await bell.ack()

    async def _detect(self) -> None:
        if self._parts.health.acting:
            await self._sentry.round()
        else:
            await self._sentry.blind_round(self._parts.health.now())

    async def _prune(self) -> None:
        keep_s = 2 * self._parts.settings.state.lateness_s
        before = self._parts.clock.now() - timedelta(seconds=keep_s)
        await self._parts.inbox.prune(before, self._parts.pump.saved_offset)

    def _opened(self, incident: IncidentId) -> None:
        self._spawn(self._jobs.run("incidents", self._runner.run_due, Duty.SERVE), f"wake {incident}")

    async def _stuck(self, incident: Incident, what: str) -> None:
        """An incident that cannot be driven is told to a person past the graph."""
        log.error("incident_stuck", incident=incident.id, what=what)
        await hand_over(self._parts.crew, incident)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task_failed", task=task.get_name(), exc_info=error)


@contextlib.asynccontextmanager
async def running(settings: Settings, clock: Clock | None = None) -> AsyncIterator[tuple[Daemon, str]]:
    """A started daemon and the URL of its API; everything is stopped at the end."""
    configure(settings.log, secrets_of(settings))
    home = Home(settings.data_dir)
    home.open()
    try:
        parts = compose(settings, home, clock or SystemClock())
        async with _checkpoints(parts) as saver:
            daemon = Daemon(parts, saver)
            try:
                await daemon.start()
                async with _serving(daemon, settings) as url:
                    home.announce(url)
                    log.info("watching", api=url, data_dir=str(settings.data_dir))
                    yield daemon, url
            finally:
                await daemon.stop()
    finally:
        home.close()


def _checkpoints(parts: Parts) -> contextlib.AbstractAsyncContextManager[BaseCheckpointSaver[str]]:
    if parts.store.is_sqlite:
        return sqlite_checkpoints(Path(parts.settings.data_dir) / "checkpoints.db")
    return postgres_checkpoints(libpq(parts.store))


@contextlib.asynccontextmanager
async def _serving(daemon: Daemon, settings: Settings) -> AsyncIterator[str]:
    config = uvicorn.Config(
        create(daemon.services()),
        host=settings.api.host,
        port=settings.api.port,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined,method-assign,unused-ignore]
    task = asyncio.create_task(server.serve(), name="api")
    while not server.started:
        if task.done():
            task.result()
            raise UnavailableError(
                f"cannot listen on {settings.api.host}:{settings.api.port}",
                cause="the address is in use or not of this machine",
                next_step="set api.port to another port, or 0 for any",
            )
        await asyncio.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://{settings.api.host}:{port}"
    finally:
        server.should_exit = True
        await task
