"""The detector's round: evaluate, correlate, open or join incidents, and keep the signal state restorable.

One round at a time. A finding that is already recorded under its fingerprint in an open incident is not recorded again.
What a remedy in force explains joins that remedy's incident and starts nothing new (invariant 12). A finding that
cannot be recorded, by its own fault, holds up no other: it is logged, counted and told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime

import structlog

from watchkeeper.agents.detector.correlate import Held, OpenIncident, correlate
from watchkeeper.agents.detector.drafting import Detected
from watchkeeper.agents.detector.evaluate import Detectors
from watchkeeper.agents.incidents import Incidents
from watchkeeper.agents.outbox import Notice, Outbox
from watchkeeper.agents.usage import BUCKET_S, AgentUsage
from watchkeeper.core.actions import Target
from watchkeeper.core.agents import Usage
from watchkeeper.core.clock import Clock
from watchkeeper.core.entries import Draft, EntryType, Eviction
from watchkeeper.core.errors import UnavailableError, WatchkeeperError
from watchkeeper.core.findings import Finding
from watchkeeper.core.ids import IncidentId, RemedyId
from watchkeeper.core.remedies import Remedy
from watchkeeper.core.subjects import Subject, SubjectKind
from watchkeeper.ledger.append import Ledger
from watchkeeper.policies.remedies import Remedies
from watchkeeper.signals.state import SignalState
from watchkeeper.store.engine import Store

log = structlog.get_logger(__name__)

MAX_TOLD = 1000
"""Of how many troubles that are not on record it is known that people were told."""

TARGET_SUBJECTS = {
    "key": SubjectKind.KEY,
    "deployment": SubjectKind.DEPLOYMENT,
    "model_group": SubjectKind.MODEL,
    "team": SubjectKind.TEAM,
}


def subject_of(target: Target) -> Subject | None:
    """What is acted on, in the words of the signals; None for a target that no signal names."""
    kind = TARGET_SUBJECTS.get(target.kind)
    return Subject.of_target(target) or (None if kind is None else Subject(kind=kind, id=target.id))


class Sentry:
    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        signals: SignalState,
        detectors: Detectors,
        incidents: Incidents,
        remedies: Remedies,
        outbox: Outbox,
        clock: Clock,
        usage: AgentUsage,
        opened: Callable[[IncidentId], None],
    ) -> None:
        self._store, self._ledger, self._signals, self._detectors = store, ledger, signals, detectors
        self._incidents, self._remedies, self._outbox = incidents, remedies, outbox
        self._clock, self._usage, self._opened = clock, usage, opened
        self._found: Counter[str] = Counter()
        self._counted = clock.monotonic()
        self._told_blind: dict[str, None] = {}
        self._unrecorded: dict[str, None] = {}
        self._evicted: Counter[tuple[str, str]] = Counter()
        self._marked: dict[RemedyId, Remedy] = {}

    async def round(self) -> int:
        """One evaluation; returns how many findings were new."""
        now = self._clock.now()
        self._told_blind.clear()
        self._signals.tick(now)
        await self._mark_remedies()
        await self._tell_evictions()
        detected = self._detectors.evaluate(self._signals, now)
        await self._count_usage()
        if not detected:
            return 0
        open_now = await self._open()
        new = 0
        for each in detected:
            try:
                placed = await self._place(each, open_now)
                self._found[each.finding.detector] += placed
                new += placed
            except UnavailableError:
                raise
            except Exception as error:  # whatever is wrong with this one, the others must be placed
                await self._not_recorded(each.finding, error)
        return new

    async def _count_usage(self) -> None:
        """Once a minute; what a crash loses of it is less than that."""
        if self._clock.monotonic() < self._counted + BUCKET_S:
            return
        self._counted = self._clock.monotonic()
        worked, found = self._detectors.worked(), self._found
        self._found = Counter()
        async with self._store.write() as tx:
            for name, wall_s in worked.items():
                await self._usage.add(tx, name, Usage(iterations=found[name], wall_s=wall_s))

    async def _not_recorded(self, finding: Finding, error: Exception) -> None:
        """Once per trouble. It is tried again each round, and may fit later."""
        reason = error.code if isinstance(error, WatchkeeperError) else "error"
        if not _first_time(self._unrecorded, finding.fingerprint):
            return
        log.error("finding_not_recorded", mode=finding.mode, subject=str(finding.subject), exc_info=error)
        self._evicted["finding", reason] += 1
        async with self._store.write() as tx:
            await self._outbox.put(tx, _notice(finding, "finding_not_recorded", reason, self._clock.now()))

    async def _place(self, detected: Detected, open_now: list[OpenIncident]) -> bool:
        finding = detected.finding
        home = correlate(finding, open_now)
        if home is None:
            incident = await self._incidents.open(finding, detected.snapshot)
            log.warning("incident_opened", incident=incident, mode=finding.mode, subject=str(finding.subject))
            open_now.append(OpenIncident(id=incident, opened=self._clock.now(), findings=(finding,)))
            self._opened(incident)
            return True
        at = next(index for index, each in enumerate(open_now) if each.id == home)
        known = open_now[at]
        if any(old.fingerprint == finding.fingerprint for old in known.findings):
            return False
        await self._incidents.join(home, finding, detected.snapshot)
        log.info("finding_joined", incident=home, mode=finding.mode, subject=str(finding.subject))
        open_now[at] = known.model_copy(update={"findings": (*known.findings, finding)})
        return True

    async def _open(self) -> list[OpenIncident]:
        touched = await self._touched()
        return [
            OpenIncident(
                id=incident.id,
                opened=incident.opened,
                findings=await self._incidents.findings(incident.id),
                held=tuple(touched.get(incident.id, ())),
            )
            for incident in await self._incidents.open_now()
        ]

    async def _touched(self) -> dict[IncidentId, list[Held]]:
        """What each incident changed or may have changed: an effect works before its remedy is on record."""
        targets = [(each.incident, each.change.target, each.since) for each in await self._remedies.in_force()]
        for reserved in await self._remedies.reserved():
            plan = await self._incidents.plan(reserved.incident, reserved.plan)
            if plan is not None:
                targets.append((reserved.incident, plan.actions[reserved.step].target, reserved.since))
        found: dict[IncidentId, list[Held]] = {}
        for incident, target, since in targets:
            subject = subject_of(target)
            if subject is not None:
                found.setdefault(incident, []).append(Held(subject=subject, since=since))
        return found

    async def blind_round(self, now: datetime) -> None:
        """While nothing can be recorded: look all the same, and tell people directly, once per trouble. `now` is the
        time to go by, whatever the clock says."""
        self._signals.tick(now)
        for finding, _ in self._detectors.evaluate(self._signals, now):
            if finding.fingerprint in self._told_blind:
                continue
            log.error("seen_blind", mode=finding.mode, subject=str(finding.subject))
            notice = _notice(finding, "seen_blind", "recording_impossible", now)
            if await self._outbox.tell_directly(notice) or not self._outbox.sinks:
                _first_time(self._told_blind, finding.fingerprint)

    async def _mark_remedies(self) -> None:
        """Samples under a remedy do not teach the baseline."""
        held = {remedy.id: remedy for remedy in await self._remedies.in_force()}
        for remedy in held.values():
            self._mark(remedy, remedy.expires)
        for gone in self._marked.keys() - held.keys():
            self._mark(self._marked[gone], self._clock.now())
        self._marked = held

    def _mark(self, remedy: Remedy, until: datetime) -> None:
        subject = subject_of(remedy.change.target)
        if subject is not None:
            self._signals.under_remedy(subject, remedy.since, until)

    async def _tell_evictions(self) -> None:
        """What cannot be written now is kept, added up, for the next round."""
        for each in self._signals.evictions():
            self._evicted[each.what, each.reason] += each.count
        if not self._evicted:
            return
        told = [Eviction(what=what, count=n, reason=reason) for (what, reason), n in sorted(self._evicted.items())]
        async with self._store.write() as tx:
            await self._ledger.append(tx, *(Draft(type=EntryType.EVICTION, subject="", data=each) for each in told))
        self._evicted.clear()


def _first_time(known: dict[str, None], fingerprint: str) -> bool:
    """Remembers it, and lets go of the oldest beyond the bound."""
    if fingerprint in known:
        return False
    known[fingerprint] = None
    if len(known) > MAX_TOLD:
        del known[next(iter(known))]
    return True


def _notice(finding: Finding, kind: str, reason: str, at: datetime) -> Notice:
    return Notice(
        incident=IncidentId("unrecorded"),
        kind=kind,
        reason=reason,
        service=finding.scope.service,
        environment=finding.scope.environment,
        mode=finding.mode,
        subject=str(finding.subject),
        at=at,
    )
