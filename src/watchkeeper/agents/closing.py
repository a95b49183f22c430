"""How an incident ends past its own graph: a person closes it, or it cannot be driven and is handed over.

A person closes what is escalated and can no longer show by itself that it is over. Nothing of it may be in force, and
no effect of it open: what is owed back is undone first. Should the trouble still be there, the detectors open it anew.
"""

from __future__ import annotations

from dataclasses import dataclass

from watchkeeper.agents.crew import Crew
from watchkeeper.agents.incidents import Incident, Incidents, Status, hold
from watchkeeper.agents.outbox import Notice
from watchkeeper.agents.tale import ending
from watchkeeper.core.clock import Clock
from watchkeeper.core.entries import Draft, EntryType, Escalated
from watchkeeper.core.errors import ConflictError, ForbiddenError
from watchkeeper.core.evidence import EvidenceKind
from watchkeeper.core.ids import IncidentId, new_id
from watchkeeper.core.principals import Principal, PrincipalKind
from watchkeeper.core.remedies import HELD
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.policies.approval.approvals import Approvals
from watchkeeper.policies.claiming.claims import Claims
from watchkeeper.policies.remedies import Remedies
from watchkeeper.policies.trust.service import Trust
from watchkeeper.store import leases
from watchkeeper.store.engine import Store

MOMENT_S = 5.0


@dataclass(frozen=True)
class Closing:
    store: Store
    clock: Clock
    incidents: Incidents
    approvals: Approvals
    claims: Claims
    remedies: Remedies
    evidence: Evidence
    trust: Trust

    async def close(self, incident: IncidentId, by: Principal, comment: str) -> Incident:
        """Closes it in one commit, with the person's name and words. Raises ForbiddenError, or ConflictError where it
        is not escalated or something of it is owed back."""
        if by.kind is not PrincipalKind.PERSON:
            raise ForbiddenError(
                f"{by.id} may not close an incident",
                cause="only a person may say that a trouble is over",
                next_step=f"watchkeeper incidents close {incident} -m WHY, with a person's token",
            )
        found = await self.incidents.get(incident)
        if found.status is Status.CLOSED:
            raise ConflictError(
                f"incident {incident} is closed already", next_step=f"watchkeeper ledger show {incident}"
            )
        if found.status is not Status.ESCALATED:
            raise _not_now(
                f"incident {incident} is {found.status}", "only what was handed over to people is closed by them"
            )
        now = self.clock.now()
        async with self.store.write() as tx:
            lease = await leases.acquire(tx, f"incident:{incident}", new_id("close", now), now, MOMENT_S)
            if lease is None:
                raise _not_now(f"incident {incident} is being looked at right now", "it is looked at now and then")
            await hold(tx, incident)
            if await self.remedies.holds(tx, incident):
                raise ConflictError(
                    f"something of incident {incident} is still in force",
                    cause="what we changed is owed back first",
                    next_step=f"watchkeeper undo {incident}",
                )
            if await self.claims.unsettled(tx, incident):
                raise _not_now(f"an effect of incident {incident} is not settled", "its target did not answer yet")
            said = await self.evidence.put(tx, EvidenceKind.COMMENT, comment.encode(), "text/plain")
            await self.trust.record(tx, await ending(tx, incident, found.resolution, now, by_person=True))
            await self.approvals.withdraw(tx, incident)
            await self.incidents.close_for(tx, found, by, said)
            await leases.release(tx, lease, now)
        return await self.incidents.get(incident)


def _not_now(what: str, cause: str) -> ConflictError:
    return ConflictError(what, cause=cause, next_step="watchkeeper incidents; try again when it says escalated")


async def hand_over(crew: Crew, incident: Incident) -> None:
    """An incident whose steps keep failing is a person's: recorded and told past the graph, which goes on trying."""
    held = [remedy for remedy in await crew.remedies.of_incident(incident.id) if remedy.status in HELD]
    commands = ["watchkeeper status", f"watchkeeper ledger show {incident.id}"]
    if held:
        commands.append(f"watchkeeper undo {incident.id}")
    notice = Notice(
        incident=incident.id,
        kind="escalation",
        reason="incident_stuck",
        service=incident.scope.service,
        environment=incident.scope.environment,
        mode=incident.mode,
        subject=incident.subject,
        at=crew.now(),
        half_done=tuple(str(remedy.change.target) for remedy in held),
        commands=tuple(commands),
    )
    data = Escalated(
        incident=incident.id,
        reason=notice.reason,
        notified=crew.outbox.sinks,
        half_done=tuple(remedy.id for remedy in held),
    )
    async with crew.store.write() as tx:
        await crew.incidents.set_status(tx, incident.id, Status.ESCALATED)
        await crew.ledger.append(tx, Draft(type=EntryType.ESCALATION, subject=incident.id, data=data))
        await crew.outbox.put(tx, notice)
