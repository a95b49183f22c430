"""Everything, made once and handed to everything else. No logic lives here."""

from __future__ import annotations

import os
import secrets as random
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
from watchkeeper.api.tokens import Tokens
from watchkeeper.bus.contract import Bus
from watchkeeper.bus.memory import MemoryBus
from watchkeeper.core.clock import Clock
from watchkeeper.daemon.health import Health
from watchkeeper.daemon.home import KEY_FILE, Home
from watchkeeper.daemon.leader import Leader
from watchkeeper.daemon.polling import Sources
from watchkeeper.daemon.settings import Settings
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


def secrets_of(settings: Settings) -> tuple[SecretStr, ...]:
    """Every secret value that logs and evidence must never show."""
    found = [gateway.admin_key for gateway in settings.gateways]
    found += [source.bearer for source in settings.prometheus if source.bearer is not None]
    found += [sink.url for sink in settings.notify]
    found += [sink.bearer for sink in settings.notify if sink.bearer is not None]
    if settings.database.url is not None:
        found.append(settings.database.url)
    return tuple(found)


def compose(settings: Settings, home: Home, system: Clock) -> Parts:
    """Makes every part. Opens no connection yet, but reads runbooks and the signing key.

    All go by the time that is believed: what is at work when the system's clock jumps writes down no time of its own.
    """
    health = Health(system)
    clock = health.wall
    store = Store(settings.database_url())
    holder = "embedded" if store.is_sqlite else f"{os.uname().nodename}-{os.getpid()}-{random.token_hex(4)}"
    ledger = Ledger(store, clock, source=f"/{settings.ledger.origin}", writer=holder)
    evidence = Evidence(store, Redactor((*secrets_of(settings), home.local_token())), clock)
    signer = _signer(settings, home)
    versions = PolicyVersions(store, ledger, clock, evidence)
    claims = Claims(store, ledger, clock, versions.active_version, settings.timing.grace_s)
    bus: Bus = MemoryBus(clock)
    inbox = Inbox(store, clock, settings.inbox_capacity)
    signals = SignalState(settings.state, settings.topology(), price)
    pump = Pump(store, inbox, bus, signals, clock)
    intake = Intake(inbox, bus, health, pump.apply_blind)
    http = httpx.AsyncClient(timeout=15, follow_redirects=False)
    book = SourceBook(clock)
    pollers = _gateways(settings, http, clock), _prometheus(settings, http, clock)
    sources = Sources(intake, book, signals, *pollers)
    recorder = CallRecorder(LedgerCallSink(store, ledger, evidence), Redactor(secrets_of(settings)), clock)
    adapters = _adapters(settings, recorder, clock)
    incidents = Incidents(store, ledger, evidence, clock)
    executor = Executor(claims, adapters, clock, health, intake)
    crew = Crew(
        store=store,
        clock=clock,
        ledger=ledger,
        evidence=evidence,
        incidents=incidents,
        outbox=Outbox(store, clock, tuple(WebhookSink(sink, http) for sink in settings.notify)),
        signals=signals,
        detectors=settings.detectors,
        planner=_planner(settings, signals, adapters, clock),
        versions=versions,
        epochs=Epochs(store, ledger, clock),
        approvals=Approvals(store, ledger, clock),
        claims=claims,
        remedies=Remedies(store, ledger),
        facts=Facts(store),
        executor=executor,
        adapters=adapters,
        holder=holder,
        protected=settings.is_protected,
        timing=settings.timing,
    )
    return Parts(
        settings=settings,
        home=home,
        clock=clock,
        holder=holder,
        store=store,
        ledger=ledger,
        evidence=evidence,
        signer=signer,
        sequencer=Sequencer(store, clock, signer, settings.ledger.origin, holder=holder),
        log=LogReader(store),
        tokens=Tokens(store, clock),
        versions=versions,
        health=health,
        leader=Leader(store, clock, holder),
        bus=bus,
        inbox=inbox,
        intake=intake,
        pump=pump,
        book=book,
        sources=sources,
        claims=claims,
        crew=crew,
        reconciler=Reconciler(claims, incidents, crew.remedies, executor, clock, holder),
        http=http,
    )


def detectors(settings: Settings) -> Detectors:
    return Detectors(settings.detectors)


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
