"""Everything, made once and handed to everything else. No logic lives here."""

from __future__ import annotations

import os
import secrets as random
from collections.abc import Callable
from dataclasses import dataclass

import httpx
from pydantic import SecretStr

from watchkeeper.adapters.contract import Registry
from watchkeeper.adapters.litellm.adapter import LiteLLMAdapter, LiteLLMConfig
from watchkeeper.adapters.recorder import CallRecorder
from watchkeeper.adapters.sink import LedgerCallSink
from watchkeeper.agents.crew import Crew
from watchkeeper.agents.detector.evaluate import Detectors
from watchkeeper.agents.incidents import Incidents
from watchkeeper.agents.outbox import Outbox, WebhookSink
from watchkeeper.agents.pump import Pump
from watchkeeper.agents.remediator.execute import Executor
from watchkeeper.agents.remediator.plan import Planner
from watchkeeper.agents.remediator.reconcile import Reconciler
from watchkeeper.agents.remediator.world import GatewayFacts, World
from watchkeeper.agents.sentry import Sentry
from watchkeeper.api.tokens import Tokens
from watchkeeper.bus.contract import Bus
from watchkeeper.bus.memory import MemoryBus
from watchkeeper.core.clock import Clock
from watchkeeper.core.ids import IncidentId
from watchkeeper.daemon.health import Health
from watchkeeper.daemon.home import KEY_FILE, Home
from watchkeeper.daemon.leader import Leader
from watchkeeper.daemon.polling import Sources
from watchkeeper.daemon.settings import Settings
from watchkeeper.daemon.witnesses import Book, WitnessClient, Witnesses
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.evidence import Evidence
from watchkeeper.ledger.keys import SigningKey, create_key, load_key
from watchkeeper.ledger.reader import LogReader
from watchkeeper.ledger.redaction import Redactor
from watchkeeper.ledger.sequencer import Sequencer
from watchkeeper.policies.approvals import Approvals
from watchkeeper.policies.claims import Claims
from watchkeeper.policies.epochs import Epochs
from watchkeeper.policies.facts import Facts
from watchkeeper.policies.remedies import Remedies
from watchkeeper.policies.versions import PolicyVersions
from watchkeeper.runbooks.loader import load_catalog
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
    ledger: Ledger
    evidence: Evidence
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
    reconciler: Reconciler
    http: httpx.AsyncClient
    witnesses: Witnesses


def secrets_of(settings: Settings) -> tuple[SecretStr, ...]:
    """Every secret value that logs and evidence must never show."""
    found = [gateway.admin_key for gateway in settings.gateways]
    found += [source.bearer for source in settings.prometheus if source.bearer is not None]
    found += [sink.url for sink in settings.notify]
    found += [sink.bearer for sink in settings.notify if sink.bearer is not None]
    if settings.database.url is not None:
        found.append(settings.database.url)
    return tuple(found)


@dataclass(frozen=True)
class _Ground:
    """What every part stands on."""

    settings: Settings
    health: Health
    clock: Clock
    store: Store
    holder: str
    ledger: Ledger
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
    signer = _signer(settings, home)
    bus: Bus = MemoryBus(clock)
    inbox = Inbox(store, clock, settings.inbox_capacity)
    signals = SignalState(settings.state, settings.topology(), price)
    pump = Pump(store, inbox, bus, signals, clock)
    intake = Intake(inbox, bus, health, pump.apply_blind)
    book = SourceBook(clock)
    pollers = _gateways(settings, ground.http, clock), _prometheus(settings, ground.http, clock)
    crew = _crew(ground, signals, intake)
    return Parts(
        settings=settings,
        home=home,
        clock=clock,
        holder=holder,
        store=store,
        ledger=ground.ledger,
        evidence=ground.evidence,
        signer=signer,
        sequencer=Sequencer(store, clock, signer, settings.ledger.origin, holder=holder),
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
        reconciler=Reconciler(ground.claims, crew.incidents, crew.remedies, crew.executor, clock, holder),
        http=ground.http,
        witnesses=_witnesses(ground, signer),
    )


def _witnesses(ground: _Ground, signer: SigningKey) -> Witnesses:
    settings = ground.settings.ledger
    book = Book(ground.store, LogReader(ground.store), (signer.verifier,))
    clients = [WitnessClient(each, book, ground.http, ground.clock) for each in settings.witnesses]
    return Witnesses(clients, book, settings.policy())


def _ground(settings: Settings, home: Home, system: Clock) -> _Ground:
    health = Health(system)
    clock = health.wall
    store = Store(settings.database_url())
    holder = "embedded" if store.is_sqlite else f"{os.uname().nodename}-{os.getpid()}-{random.token_hex(4)}"
    ledger = Ledger(store, clock, source=f"/{settings.ledger.origin}", writer=holder)
    evidence = Evidence(store, Redactor((*secrets_of(settings), home.local_token())), clock)
    versions = PolicyVersions(store, ledger, clock, evidence)
    claims = Claims(store, ledger, clock, versions.active_version, settings.timing.grace_s)
    http = httpx.AsyncClient(timeout=15, follow_redirects=False)
    return _Ground(settings, health, clock, store, holder, ledger, evidence, versions, claims, http)


def _crew(ground: _Ground, signals: SignalState, intake: Intake) -> Crew:
    settings, clock, store, ledger = ground.settings, ground.clock, ground.store, ground.ledger
    recorder = CallRecorder(LedgerCallSink(store, ledger, ground.evidence), Redactor(secrets_of(settings)), clock)
    adapters = _adapters(settings, recorder, clock)
    return Crew(
        store=store,
        clock=clock,
        ledger=ledger,
        evidence=ground.evidence,
        incidents=Incidents(store, ledger, ground.evidence, clock),
        outbox=Outbox(store, clock, tuple(WebhookSink(sink, ground.http) for sink in settings.notify)),
        signals=signals,
        detectors=settings.detectors,
        planner=_planner(settings, signals, adapters, clock),
        versions=ground.versions,
        epochs=Epochs(store, ledger, clock),
        approvals=Approvals(store, ledger, clock),
        claims=ground.claims,
        remedies=Remedies(store, ledger),
        facts=Facts(store),
        executor=Executor(ground.claims, adapters, clock, ground.health, intake),
        adapters=adapters,
        holder=ground.holder,
        protected=settings.is_protected,
        timing=settings.timing,
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
        opened,
    )


def _signer(settings: Settings, home: Home) -> SigningKey:
    path = settings.ledger.signing_key_path or home.path / KEY_FILE
    if settings.ledger.signing_key_path is None and not path.exists():
        return create_key(path, settings.ledger.origin)
    return load_key(path, settings.ledger.origin)


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


def _adapters(settings: Settings, recorder: CallRecorder, clock: Clock) -> Registry:
    return Registry(
        LiteLLMAdapter(
            LiteLLMConfig(name=gateway.name, base_url=gateway.base_url, admin_key=gateway.admin_key), recorder, clock
        )
        for gateway in settings.gateways
        if gateway.manage
    )


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
