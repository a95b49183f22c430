"""Findings of all three failure modes and a diagnosis of them, recorded with their basis as the daemon records them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache

from tests.testbed.ledgers import Log
from tests.testbed.traffic import Caller, Traffic
from watchkeeper.agents.detector.config import DetectorConfig, TokenCostConfig
from watchkeeper.agents.detector.drafting import Detected
from watchkeeper.agents.detector.evaluate import Detectors
from watchkeeper.agents.diagnoser.gateway import diagnose
from watchkeeper.agents.incidents import Incidents
from watchkeeper.core.entries import Draft, EntryType
from watchkeeper.core.evidence import EvidenceKind
from watchkeeper.core.ids import DiagnosisId, IncidentId
from watchkeeper.core.signals import ErrorClass
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.ledger.reader import Entry
from watchkeeper.signals.state import SignalState, StateConfig
from watchkeeper.store.engine import Store

STATE = StateConfig(bucket_s=2, step_s=10, lateness_s=30, horizon_s=300, history_s=3600)
DETECTORS = Detectors(DetectorConfig(token_cost=TokenCostConfig(min_history=8)))


@dataclass(frozen=True)
class Troubled:
    state: SignalState
    now: datetime
    found: tuple[Detected, ...]


@cache
def troubled() -> Troubled:
    """One agent loops, another's calls cost eighty times as much, and a deployment fails three calls of four."""
    callers = [Caller("support", runs_per_s=1.5, turns=1), Caller("research", runs_per_s=0.5, turns=3)]
    traffic = Traffic(4, callers)
    state = SignalState(STATE, traffic.topology())
    _run(traffic, state, 200)
    traffic.caller("research").looping = True
    traffic.caller("support").cost *= 80
    traffic.fail = lambda deployment, rng: ErrorClass.SERVER if rng.random() < 0.75 else None
    _run(traffic, state, 40)
    return Troubled(state, traffic.now, DETECTORS.evaluate(state, traffic.now))


def _run(traffic: Traffic, state: SignalState, seconds: int) -> None:
    for now, signals in traffic.run(seconds):
        for signal in signals:
            state.apply(signal, now)


@dataclass
class Recorded:
    """One incident with every finding and its diagnosis in the log."""

    store: Store
    log: Log
    evidence: Evidence
    incident: IncidentId

    async def entries(self) -> list[Entry]:
        return await self.log.reader.by_subject(self.incident)

    async def of(self, kind: EntryType) -> list[str]:
        """The ids of its entries of a kind."""
        return [entry.envelope.id for entry in await self.entries() if entry.envelope.type == kind]


async def recorded(store: Store, evidence: Evidence | None = None, log: Log | None = None) -> Recorded:
    trouble, log = troubled(), log or Log(store)
    evidence = evidence or Evidence(store, clock=log.clock)
    incidents = Incidents(store, log.ledger, evidence, log.clock)
    first, *others = trouble.found
    incident = await incidents.open(first.finding, first.snapshot)
    for each in others:
        await incidents.join(incident, each.finding, each.snapshot)
    known = await incidents.findings(incident)
    drawn = diagnose(incident, known, trouble.state, trouble.now, DiagnosisId("dgn_1"))
    async with store.write() as tx:
        basis = await evidence.put(tx, EvidenceKind.SNAPSHOT, drawn.snapshot)
        told = drawn.diagnosis.model_copy(update={"evidence": (basis,)})
        await log.ledger.append(tx, Draft(type=EntryType.DIAGNOSIS, subject=incident, data=told))
    await log.sequencer.run_once()
    return Recorded(store, log, evidence, incident)
