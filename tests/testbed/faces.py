"""The API over real rooms on SQLite, in this process or behind a socket, with an incident that waits for a person."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import httpx
import uvicorn
from fastapi import FastAPI
from sqlalchemy import insert

from tests.testbed.entries import a_decision, a_plan, one_of_each
from tests.testbed.ledgers import Log
from tests.testbed.stores import create_tables
from watchkeeper.adapters.contract import Capability, Registry
from watchkeeper.adapters.litellm.capabilities import CAPABILITIES
from watchkeeper.agents.editing import Editing
from watchkeeper.agents.held import HeldIncidents
from watchkeeper.agents.incidents import Incidents
from watchkeeper.agents.outbox import Outbox
from watchkeeper.agents.records import Decided, Proposed
from watchkeeper.agents.remediator.plan import Planner
from watchkeeper.agents.remediator.world import World
from watchkeeper.agents.rollout import Rollouts
from watchkeeper.agents.roster import Roster
from watchkeeper.agents.stopping import Stopping
from watchkeeper.agents.tables import incident_step
from watchkeeper.agents.usage import AgentUsage
from watchkeeper.api.app import create
from watchkeeper.api.services import HealthReport, Services
from watchkeeper.api.tokens import Tokens
from watchkeeper.bus.memory import MemoryBus
from watchkeeper.core.actions import Action, Change, FieldChange, Intent, Target
from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.decisions import DecisionRecord
from watchkeeper.core.entries import Draft, EntryType, FindingRecorded
from watchkeeper.core.ids import ApprovalId, IncidentId, new_id
from watchkeeper.core.model import Contract
from watchkeeper.core.objectives import Objective
from watchkeeper.core.plans import Plan
from watchkeeper.core.principals import Principal, PrincipalKind, Role
from watchkeeper.daemon.health import Health
from watchkeeper.daemon.witnessclient import Book
from watchkeeper.daemon.witnesses import Alarm, Witnesses
from watchkeeper.ledger.archive.directory import DirectoryStorage
from watchkeeper.ledger.checks.fsck import fsck
from watchkeeper.ledger.checks.verify import verify
from watchkeeper.ledger.evidence.erase import Eraser
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.ledger.retention.periods import RetentionSettings
from watchkeeper.ledger.retention.upkeep import Hand, Upkeep
from watchkeeper.policies.approval.approvals import Approvals, draft
from watchkeeper.policies.approval.edits import Edits
from watchkeeper.policies.budgets.service import ErrorBudgets
from watchkeeper.policies.claiming.claims import Claims
from watchkeeper.policies.decide import decide
from watchkeeper.policies.load import pack
from watchkeeper.policies.promotion.service import Promotions
from watchkeeper.policies.remedies import Remedies
from watchkeeper.policies.revocation.epochs import Epochs
from watchkeeper.policies.revocation.stops import StopOrders
from watchkeeper.policies.rollout.terms import RolloutTerms
from watchkeeper.policies.trust.service import Trust
from watchkeeper.policies.versions import PolicyVersions
from watchkeeper.runbooks.loader import load_catalog
from watchkeeper.signals.alertmanager import AlertmanagerConfig
from watchkeeper.signals.inbox import Inbox
from watchkeeper.signals.intake import Intake
from watchkeeper.signals.sources import SourceBook
from watchkeeper.store.engine import Store

SELF = Principal(id="daemon", kind=PrincipalKind.DAEMON, roles=(), authenticated_by="internal")


class Willing:
    """Adapters that take every action, on targets where nothing was set before."""

    def get(self, name: str) -> Willing:
        return self

    def capability(self, target: Target, intent: Intent) -> Capability | None:
        return next((each for each in CAPABILITIES if (each.intent, each.target_kind) == (intent, target.kind)), None)

    async def dry_run(self, action: Action) -> Change:
        fields = tuple(FieldChange(path=name, before=None, after=value) for name, value in action.parameters)
        return Change(target=action.target, intent=action.intent, fields=fields)


def an_editable_plan() -> Plan:
    """A throttle by the shipped runbook, whose limit a person may move."""
    plan, runbook = a_plan(), load_catalog(()).get("throttle-runaway-caller")
    action = plan.actions[0].model_copy(update={"parameters": (("rpm_limit", 30),)})
    return plan.model_copy(update={"runbook": runbook.ref, "actions": (action,)})


@dataclass(frozen=True)
class Face:
    services: Services
    log: Log
    clock: ManualClock
    app: FastAPI

    async def token(self, *roles: Role, name: str = "ann", kind: PrincipalKind = PrincipalKind.PERSON) -> str:
        return (await self.services.tokens.make(name, kind, roles)).get_secret_value()

    @asynccontextmanager
    async def client(
        self, *roles: Role, name: str = "ann", kind: PrincipalKind = PrincipalKind.PERSON
    ) -> AsyncIterator[httpx.AsyncClient]:
        """Speaks as somebody with these roles; as nobody, if there are none."""
        headers = {"Authorization": f"Bearer {await self.token(*roles, name=name, kind=kind)}"} if roles else {}
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
            yield client

    async def incident(self) -> IncidentId:
        """An open incident with one finding."""
        recorded = one_of_each()[EntryType.FINDING].data
        assert isinstance(recorded, FindingRecorded)
        first = not await self.services.incidents.list(include_closed=True, limit=1)
        changes = {"evidence": ()} | ({} if first else {"id": new_id("fnd", self.clock.now())})
        finding = recorded.finding.model_copy(update=changes)  # the bodies of its evidence are nowhere
        return await self.services.incidents.open(finding, b'{"calls_per_min": 412}')

    async def waiting(self, plan: Plan | None = None) -> ApprovalId:
        """An incident whose plan waits for a person, with its steps and entries as the nodes write them."""
        incident = await self.incident()
        plan = (plan or a_plan()).model_copy(update={"incident": incident})
        given = a_decision().input.model_copy(update={"incident": incident, "plan_hash": plan.plan_hash})
        decision = decide(await self.services.versions.active(), given)
        record = DecisionRecord(id=a_decision().id, input=given, decision=decision)
        await self._step(incident, "propose/0", Proposed(plan=plan), EntryType.PLAN, plan)
        await self._step(incident, "decide/0/0", Decided(record=record, epochs=()), EntryType.DECISION, record)
        approval = await self._ask(plan, record)
        await self.log.sequencer.run_once()
        return approval

    async def _step(self, incident: IncidentId, step: str, result: Contract, kind: EntryType, data: Contract) -> None:
        async with self.services.store.write() as tx:
            await tx.execute(
                insert(incident_step).values(
                    incident=incident, step=step, result=canonical_model(result), at=self.clock.now()
                )
            )
            await self.log.ledger.append(tx, Draft(type=kind, subject=incident, data=data))

    async def _ask(self, plan: Plan, record: DecisionRecord) -> ApprovalId:
        async with self.services.store.write() as tx:
            return await self.services.approvals.request(tx, draft(plan, record, self.clock.now(), 600))


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[Face]:
    store = Store(f"sqlite+aiosqlite:///{directory / 'watchkeeper.db'}")
    await create_tables(store)
    clock = ManualClock()
    bus = MemoryBus(clock)
    log = Log(store, clock)
    services = _services(store, clock, log, bus, directory / "archive")
    await services.versions.activate(pack("baseline"), SELF)
    await log.sequencer.run_once()
    yield Face(services=services, log=log, clock=clock, app=create(services))
    await bus.close()
    await store.close()


def _services(store: Store, clock: ManualClock, log: Log, bus: MemoryBus, archive: Path) -> Services:
    evidence = Evidence(store, clock=clock)
    versions = PolicyVersions(store, log.ledger, clock)
    outbox, trust = Outbox(store, clock, ()), Trust(store, log.ledger, clock)
    book = Book(store, log.reader, (log.key.verifier,), Alarm(store, outbox, clock, "production"))
    return Services(
        clock=clock,
        tokens=Tokens(store, clock),
        intake=Intake(Inbox(store, clock, 10_000), bus, Health(clock), lambda signals, at: None),
        book=SourceBook(clock, 120),
        incidents=Incidents(store, log.ledger, evidence, clock),
        approvals=Approvals(store, log.ledger, clock),
        claims=Claims(store, log.ledger, clock, versions.if_active),
        epochs=Epochs(store, log.ledger, clock),
        remedies=Remedies(store, log.ledger),
        trust=trust,
        budgets=ErrorBudgets(store, clock, OBJECTIVES),
        roster=Roster(
            Promotions(store, log.ledger, clock, evidence, trust),
            AgentUsage(store, clock),
            Epochs(store, log.ledger, clock),
        ),
        rollouts=Rollouts(store, log.ledger, clock, evidence, outbox, RolloutTerms()),
        editing=_editing(store, clock, log, evidence),
        stopping=Stopping(store, Incidents(store, log.ledger, evidence, clock), StopOrders(store), clock),
        outbox=outbox,
        versions=versions,
        log=log.reader,
        evidence=evidence,
        eraser=Eraser(store, log.ledger, evidence),
        upkeep=_upkeep(store, clock, log, archive),
        alertmanager=AlertmanagerConfig(),
        health=lambda: HealthReport(acting=True, sources={"litellm:main": "ok"}),
        verify=partial(verify, log.reader, log.key.verifier.vkey),
        fsck=partial(fsck, log.reader, log.key.verifier.vkey),
        vkey=log.key.verifier.vkey,
        witnessing=Witnesses((), book, None),
        store=store,
    )


OBJECTIVES = (Objective(name="served", service="chat", environment="prod", target=0.99),)


def _editing(store: Store, clock: ManualClock, log: Log, evidence: Evidence) -> Editing:
    """Its targets take every throttle, and were unlimited before."""
    approvals = Approvals(store, log.ledger, clock)
    planner = Planner(load_catalog(()), cast(World, None), cast(Registry, Willing()))
    incidents = Incidents(store, log.ledger, evidence, clock)
    return Editing(store, clock, incidents, approvals, Edits(store, log.ledger, approvals, clock), planner, evidence)


def _upkeep(store: Store, clock: ManualClock, log: Log, archive: Path) -> Upkeep:
    claims = Claims(store, log.ledger, clock, PolicyVersions(store, log.ledger, clock).if_active)
    hand = Hand(store, log.ledger)
    return Upkeep.over(
        hand,
        hand,
        clock,
        RetentionSettings(entries="1y"),
        DirectoryStorage(archive),
        [log.key.verifier],
        HeldIncidents(claims, Remedies(store, log.ledger)),
        holder="one",
    )


@dataclass(frozen=True)
class Served:
    """A running API: where it is, an administrator's token, and the approval that waits."""

    url: str
    token: str
    approval: str
    incident: str


@contextmanager
def serving(directory: Path) -> Iterator[Served]:
    """The same on a free port, in a thread with a loop of its own."""
    ready: list[Served] = []
    started, stop = threading.Event(), threading.Event()

    async def main() -> None:
        async with opened(directory) as face:
            approval = await face.waiting(an_editable_plan())
            incident = (await face.services.approvals.get(approval)).request.incident
            server = uvicorn.Server(uvicorn.Config(face.app, host="127.0.0.1", port=0, log_level="error"))
            task = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            token = await face.token(Role.ADMIN, name="root")
            ready.append(Served(f"http://127.0.0.1:{port}", token, approval, incident))
            started.set()
            await asyncio.to_thread(stop.wait)
            server.should_exit = True
            await task

    def run() -> None:
        try:
            asyncio.run(main())
        finally:
            started.set()

    thread = threading.Thread(target=run, name="api")
    thread.start()
    started.wait(30)
    try:
        assert ready, "the API did not start"
        yield ready[0]
    finally:
        stop.set()
        thread.join(30)
