"""Everything, made once and handed to everything else. No logic lives here."""

from __future__ import annotations

import os
import secrets as random
from collections.abc import Callable
from dataclasses import dataclass

import httpx
from pydantic import SecretStr

from watchkeeper.adapters.contract import Registry
from watchkeeper.adapters.recorder import CallRecorder
from watchkeeper.adapters.sink import LedgerCallSink
from watchkeeper.agents.crew import Crew
from watchkeeper.agents.detector.evaluate import Detectors
from watchkeeper.agents.held import HeldIncidents
from watchkeeper.agents.incidents import Incidents
from watchkeeper.agents.outbox import Outbox, WebhookSink
from watchkeeper.agents.pump import Pump
from watchkeeper.agents.remediator.execute import Executor
from watchkeeper.agents.remediator.plan import Planner
from watchkeeper.agents.remediator.reconcile import Reconciler
from watchkeeper.agents.remediator.world import GatewayFacts, World
from watchkeeper.agents.rollout import Rollouts
from watchkeeper.agents.sentry import Sentry
from watchkeeper.agents.usage import AgentUsage
from watchkeeper.api.tokens import Tokens
from watchkeeper.bus.contract import Bus
from watchkeeper.bus.memory import MemoryBus
from watchkeeper.core.clock import Clock
from watchkeeper.core.ids import IncidentId
from watchkeeper.daemon.health import Health
from watchkeeper.daemon.home import Home
from watchkeeper.daemon.leader import Leader
from watchkeeper.daemon.polling import Sources
from watchkeeper.daemon.settings import Settings
from watchkeeper.daemon.signing import keys as signing_keys
from watchkeeper.daemon.targets import adapters_of
from watchkeeper.daemon.witnessclient import Book, WitnessClient
from watchkeeper.daemon.witnesses import Alarm, Witnesses
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.archive.config import S3Archive
from watchkeeper.ledger.archive.places import storage_of
from watchkeeper.ledger.evidence.erase import Eraser
from watchkeeper.ledger.evidence.redaction import Redactor
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.ledger.reader import LogReader
from watchkeeper.ledger.retention.upkeep import Hand, Upkeep
from watchkeeper.ledger.sequencer import Sequencer
from watchkeeper.ledger.signing.keys import SigningKey
from watchkeeper.ledger.signing.note import VerifierKey
from watchkeeper.policies.approval.approvals import Approvals
from watchkeeper.policies.approval.edits import Edits
from watchkeeper.policies.budgets.service import ErrorBudgets
from watchkeeper.policies.claiming.claims import Claims
from watchkeeper.policies.facts import Facts
from watchkeeper.policies.promotion.service import Promotions
from watchkeeper.policies.remedies import Remedies
from watchkeeper.policies.revocation.epochs import Epochs
from watchkeeper.policies.revocation.stops import StopOrders
from watchkeeper.policies.trust.service import Trust
from watchkeeper.policies.versions import PolicyVersions
from watchkeeper.runbooks.loader import load_catalog
from watchkeeper.signals.handles import Handles
from watchkeeper.signals.inbox import Inbox
from watchkeeper.signals.intake import Intake
from watchkeeper.signals.litellm import LiteLLMPoller, LiteLLMSource
from watchkeeper.signals.pricing import price
from watchkeeper.signals.prometheus import PrometheusPoller
from watchkeeper.signals.sources import SourceBook
from watchkeeper.signals.state import SignalState
from watchkeeper.store.engine import Store


@dataclass(frozen=True)
class Parts:
    """The daemon's parts; `Daemon` (life.py) starts and stops them."""

    settings: Settings
    home: Home
    clock: Clock
    holder: str
    store: Store
    pruner: Store
    """For those who take evidence or pruned entries away; the same as `store` where the database has one role."""
    ledger: Ledger
    evidence: Evidence
    eraser: Eraser
    signer: SigningKey
    sequencer: Sequencer
    log: LogReader
    tokens: Tokens
    versions: PolicyVersions
    health: Health
    leader: Leader
    bus: Bus
    inbox: Inbox
    intake: Intake
    pump: Pump
    book: SourceBook
    sources: Sources
    claims: Claims
    crew: Crew
    upkeep: Upkeep
    reconciler: Reconciler
    http: httpx.AsyncClient
    witnesses: Witnesses


def secrets_of(settings: Settings) -> tuple[SecretStr, ...]:
    """Every secret value that logs and evidence must never show."""
    found = [gateway.admin_key for gateway in settings.gateways]
    found += [source.bearer for source in settings.prometheus if source.bearer is not None]
    found += [sink.url for sink in settings.notify]
    found += [sink.bearer for sink in settings.notify if sink.bearer is not None]
    found += [key for key in (settings.ledger.signing_key, settings.ledger.previous_signing_key) if key is not None]
    archive = settings.ledger.archive
    if isinstance(archive, S3Archive):
        found += [key for key in (archive.access_key, archive.secret_key) if key is not None]
    return (*found, *settings.database.secrets())


@dataclass(frozen=True)
class _Ground:
    """What every part stands on."""

    settings: Settings
    health: Health
    clock: Clock
    store: Store
    holder: str
    pruner: Hand
    ledger: Ledger
    redactor: Redactor
    evidence: Evidence
    versions: PolicyVersions
    claims: Claims
    http: httpx.AsyncClient


def compose(settings: Settings, home: Home, system: Clock) -> Parts:
    """Makes every part. Opens no connection yet, but reads runbooks and the signing key.

    All go by the time that is believed: what is at work when the system's clock jumps writes down no time of its own.
    """
    ground = _ground(settings, home, system)
    clock, store, health, holder = ground.clock, ground.store, ground.health, ground.holder
    keys = signing_keys(settings.ledger, home.path)
    bus: Bus = MemoryBus(clock)
    inbox = Inbox(store, clock, settings.inbox_capacity)
    signals = SignalState(settings.state, settings.topology(), price)
    pump = Pump(store, inbox, bus, signals, clock)
    intake = Intake(inbox, bus, health, pump.apply_blind, _handles(settings, home, ground.redactor))
    book = SourceBook(clock, settings.state.lateness_s)
    pollers = _gateways(settings, ground.http, clock), _prometheus(settings, ground.http, clock)
    crew = _crew(ground, signals, intake)
    return Parts(
        settings=settings,
        home=home,
        clock=clock,
        holder=holder,
        store=store,
        pruner=ground.pruner.store,
        ledger=ground.ledger,
        evidence=ground.evidence,
        eraser=Eraser(ground.pruner.store, ground.pruner.ledger, ground.evidence),
        signer=keys.current,
        sequencer=Sequencer(store, clock, keys.current, settings.ledger.origin, previous=keys.previous, holder=holder),
        log=LogReader(store),
        tokens=Tokens(store, clock),
        versions=ground.versions,
        health=health,
        leader=Leader(store, clock, holder),
        bus=bus,
        inbox=inbox,
        intake=intake,
        pump=pump,
        book=book,
        sources=Sources(intake, book, signals, *pollers),
        claims=ground.claims,
        crew=crew,
        upkeep=_upkeep(ground, crew, keys.known),
        reconciler=Reconciler(ground.claims, crew.incidents, crew.remedies, crew.trust, crew.executor, clock, holder),
        http=ground.http,
        witnesses=_witnesses(ground, keys.known, crew.outbox),
    )


def _witnesses(ground: _Ground, known: tuple[VerifierKey, ...], outbox: Outbox) -> Witnesses:
    settings = ground.settings.ledger
    alarm = Alarm(ground.store, outbox, ground.clock, ground.settings.environment)
    book = Book(ground.store, LogReader(ground.store), known, alarm)
    clients = [WitnessClient(each, book, ground.http, ground.clock) for each in settings.witnesses]
    return Witnesses(clients, book, settings.policy())


def _ground(settings: Settings, home: Home, system: Clock) -> _Ground:
    health = Health(system)
    clock = health.wall
    store = Store(settings.database_url())
    holder = "embedded" if store.is_sqlite else f"{os.uname().nodename}-{os.getpid()}-{random.token_hex(4)}"
    redactor = Redactor((*secrets_of(settings), home.local_token()))
    ledger = _writer(settings, store, clock, holder, redactor)
    evidence = Evidence(store, redactor, clock, settings.ledger.evidence_max_bytes)
    versions = PolicyVersions(store, ledger, clock, evidence)
    claims = Claims(store, ledger, clock, versions.if_active, settings.timing.grace_s)
    http = httpx.AsyncClient(timeout=15, follow_redirects=False)
    return _Ground(
        settings=settings,
        health=health,
        clock=clock,
        store=store,
        holder=holder,
        pruner=_pruner(settings, Hand(store, ledger), clock, redactor),
        ledger=ledger,
        redactor=redactor,
        evidence=evidence,
        versions=versions,
        claims=claims,
        http=http,
    )


def _pruner(settings: Settings, daemon: Hand, clock: Clock, redactor: Redactor) -> Hand:
    store = pruner_of(settings, daemon.store)
    if store is daemon.store:
        return daemon
    return Hand(store, _writer(settings, store, clock, f"{daemon.ledger.writer}-pruner", redactor))


def _writer(settings: Settings, store: Store, clock: Clock, name: str, redactor: Redactor) -> Ledger:
    return Ledger(store, clock, source=f"/{settings.ledger.origin}", writer=name, holds_secret=redactor.holds_known)


def _handles(settings: Settings, home: Home, redactor: Redactor) -> Handles:
    own = {name for service in settings.services for name in (service.name, *service.agents)}
    return Handles(home.handle_salt(), redactor, frozenset(own))


def _crew(ground: _Ground, signals: SignalState, intake: Intake) -> Crew:
    settings, clock, store, ledger = ground.settings, ground.clock, ground.store, ground.ledger
    recorder = CallRecorder(LedgerCallSink(store, ledger, ground.evidence), ground.redactor, clock)
    adapters = adapters_of(settings, recorder, clock)
    trust = Trust(store, ledger, clock)
    promotions = Promotions(store, ledger, clock, ground.evidence, trust)
    trust.tell(promotions.scored)
    outbox = Outbox(store, clock, tuple(WebhookSink(sink, ground.http) for sink in settings.notify))
    services = tuple(each.scope for each in settings.services)
    rollouts = Rollouts(store, ledger, clock, ground.evidence, outbox, settings.rollout, services)
    trust.tell(rollouts.scored)
    approvals = Approvals(store, ledger, clock)
    return Crew(
        store=store,
        clock=clock,
        ledger=ledger,
        evidence=ground.evidence,
        incidents=Incidents(store, ledger, ground.evidence, clock, trust.relapsed),
        outbox=outbox,
        signals=signals,
        detectors=settings.detectors,
        planner=_planner(settings, signals, adapters, clock),
        versions=ground.versions,
        epochs=Epochs(store, ledger, clock),
        approvals=approvals,
        edits=Edits(store, ledger, approvals, clock),
        stops=StopOrders(store),
        claims=ground.claims,
        remedies=Remedies(store, ledger),
        facts=Facts(store),
        trust=trust,
        promotions=promotions,
        rollouts=rollouts,
        usage=AgentUsage(store, clock, settings.agents),
        budgets=ErrorBudgets(store, clock, settings.objectives),
        executor=Executor(ground.claims, adapters, clock, ground.health, intake),
        adapters=adapters,
        holder=ground.holder,
        protected=settings.is_protected,
        timing=settings.timing,
    )


def _upkeep(ground: _Ground, crew: Crew, known: tuple[VerifierKey, ...]) -> Upkeep:
    chosen = ground.settings.ledger
    storage = None if chosen.archive is None else storage_of(chosen.archive)
    return Upkeep.over(
        Hand(ground.store, ground.ledger),
        ground.pruner,
        ground.clock,
        chosen.retention,
        storage,
        known,
        HeldIncidents(ground.claims, crew.remedies),
        holder=ground.holder,
    )


def sentry(parts: Parts, opened: Callable[[IncidentId], None]) -> Sentry:
    """The detector's round over these parts; `opened` hears of each new incident."""
    crew = parts.crew
    return Sentry(
        parts.store,
        parts.ledger,
        crew.signals,
        Detectors(parts.settings.detectors),
        crew.incidents,
        crew.remedies,
        crew.outbox,
        parts.clock,
        crew.usage,
        opened,
    )


def pruner_of(settings: Settings, store: Store) -> Store:
    """The store of the role that may take away; `store` itself where there is none."""
    url = settings.database.pruner_url
    return store if url is None else Store(url.get_secret_value())


def _gateways(settings: Settings, http: httpx.AsyncClient, clock: Clock) -> tuple[LiteLLMPoller, ...]:
    return tuple(
        LiteLLMPoller(
            LiteLLMSource(
                name=gateway.name, base_url=gateway.base_url, admin_key=gateway.admin_key, interval_s=gateway.poll_s
            ),
            http,
            clock,
        )
        for gateway in settings.gateways
    )


def _prometheus(settings: Settings, http: httpx.AsyncClient, clock: Clock) -> tuple[PrometheusPoller, ...]:
    return tuple(PrometheusPoller(config, http, clock) for config in settings.prometheus)


def _planner(settings: Settings, signals: SignalState, adapters: Registry, clock: Clock) -> Planner:
    runbooks = settings.runbooks
    catalog = load_catalog(
        runbooks.dirs, shipped=runbooks.shipped, overrides=runbooks.overrides, series=settings.series()
    )
    managed = tuple(
        GatewayFacts(adapter=f"litellm:{gateway.name}", fallbacks=gateway.fallbacks)
        for gateway in settings.gateways
        if gateway.manage
    )
    return Planner(catalog, World(signals, adapters, managed, settings.detectors, clock), adapters)
