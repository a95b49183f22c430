"""triage and diagnose: is it still there, and why.

A cause that is named may be wrong: what follows from it is verified, never taken for granted.
"""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.agents.diagnoser.gateway import diagnose as find_causes
from watchkeeper.agents.incidents import Status
from watchkeeper.agents.manifest import GATEWAY_DIAGNOSER
from watchkeeper.agents.records import Noted
from watchkeeper.agents.state import WatchState
from watchkeeper.agents.watcher import Watcher
from watchkeeper.core.agents import Usage
from watchkeeper.core.diagnosis import Diagnosis
from watchkeeper.core.entries import EntryType
from watchkeeper.core.evidence import EvidenceKind
from watchkeeper.core.ids import DiagnosisId, new_id


async def triage(watch: Watcher, state: WatchState) -> WatchState:
    """An incident whose every finding is gone by itself is closed before anything is done."""
    gone = await watch.crew.all_gone(watch.incident)

    async def look() -> Noted:
        return Noted(at=watch.crew.now(), note="gone" if gone else "there")

    async def write(tx: AsyncConnection, noted: Noted) -> None:
        await watch.status(tx, Status.DIAGNOSING)

    noted = await watch.steps.once("triage", Noted, look, write)
    if noted.note == "gone":
        return {"next": "close", "reason": "gone_before_triage"}
    incident = await watch.crew.incidents.get(watch.incident)
    return {"next": "diagnose", "attempt": 0, "cycle": 0, "relapses": incident.relapses}


async def diagnose(watch: Watcher, state: WatchState) -> WatchState:
    step = f"diagnose/{state.get('attempt', 0)}"
    if await watch.steps.recorded(step, Diagnosis) is None and await watch.crew.usage.spent(GATEWAY_DIAGNOSER):
        return {"next": "escalate", "reason": "diagnoser_over_budget"}
    snapshot, wall_s = b"", 0.0

    async def think() -> Diagnosis:
        nonlocal snapshot, wall_s
        began = watch.crew.clock.monotonic()
        findings = await watch.crew.incidents.findings(watch.incident)
        identity = DiagnosisId(new_id("dgn", watch.crew.now()))
        found = find_causes(watch.incident, findings, watch.crew.signals, watch.crew.now(), identity)
        snapshot, wall_s = found.snapshot, watch.crew.clock.monotonic() - began
        return found.diagnosis

    async def write(tx: AsyncConnection, diagnosis: Diagnosis) -> None:
        basis = await watch.crew.evidence.put(tx, EvidenceKind.SNAPSHOT, snapshot)
        await watch.append(tx, EntryType.DIAGNOSIS, diagnosis.model_copy(update={"evidence": (basis,)}))
        await watch.crew.usage.add(tx, GATEWAY_DIAGNOSER, Usage(iterations=1, wall_s=wall_s))
        await watch.status(tx, Status.PROPOSING)

    diagnosis = await watch.steps.once(step, Diagnosis, think, write)
    if diagnosis.novel:
        return {"next": "escalate", "reason": "novel_cause"}
    return {"next": "propose"}
