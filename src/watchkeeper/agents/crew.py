"""What the nodes of the graph work with: every service of the daemon that an incident needs, in one place.

Made once by the composition root; holds no state of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import Field

from watchkeeper.adapters.contract import Registry
from watchkeeper.agents.detector.clear import all_resolved, deployments, resolved
from watchkeeper.agents.detector.config import DetectorConfig
from watchkeeper.agents.incidents import Incidents
from watchkeeper.agents.outbox import Outbox
from watchkeeper.agents.remediator.execute import Executor
from watchkeeper.agents.remediator.plan import Planner
from watchkeeper.agents.rollout import Rollouts
from watchkeeper.agents.usage import AgentUsage
from watchkeeper.core.clock import Clock
from watchkeeper.core.findings import FailureMode, Finding
from watchkeeper.core.ids import IncidentId
from watchkeeper.core.model import Contract
from watchkeeper.core.sli import Sli, SliReading
from watchkeeper.core.subjects import Subject
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.evidence.store import Evidence
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
from watchkeeper.signals.state import SignalState
from watchkeeper.store.engine import Store


class Timing(Contract):
    """How long an incident's steps may take. Seconds."""

    recheck_s: float = Field(default=30.0, gt=0)
    """How often an escalated incident is looked at again, to close it when the trouble is gone."""
    reconcile_s: float = Field(default=5.0, gt=0)
    """How long to wait before an unknown effect is observed again."""
    reconcile_tries: int = Field(default=6, ge=1)
    """How often an unknown effect is observed before a person is called."""
    approval_ttl_s: int = Field(default=1800, gt=0)
    """How long an approval may be given where policy sets no shorter time."""
    approval_batch_s: float = Field(default=150.0, ge=0)
    """The same people are told of plans that wait for them at most once in this time, of all that wait together."""
    inconclusive_extensions: int = Field(default=2, ge=0)
    """How often the last horizon is waited for again while there is too little traffic to tell."""
    claim_s: float = Field(default=5.0, gt=0, le=10)
    """How long a claim may wait to be sent."""
    grace_s: float = Field(default=5.0, ge=0)
    """How long after a claim's end a call may still be on its way before the claim is taken over."""
    max_attempts: int = Field(default=3, ge=1)
    """How often a stale plan is made anew before a person is called."""


@dataclass(frozen=True)
class Crew:
    store: Store
    clock: Clock
    ledger: Ledger
    evidence: Evidence
    incidents: Incidents
    outbox: Outbox
    signals: SignalState
    detectors: DetectorConfig
    planner: Planner
    versions: PolicyVersions
    epochs: Epochs
    approvals: Approvals
    claims: Claims
    edits: Edits
    stops: StopOrders
    remedies: Remedies
    facts: Facts
    trust: Trust
    promotions: Promotions
    rollouts: Rollouts
    usage: AgentUsage
    budgets: ErrorBudgets
    executor: Executor
    adapters: Registry
    holder: str
    """This process, as leases and claims name it."""
    protected: Callable[[str], bool]
    """Whether a target (its text form) is Watchkeeper's own: no policy can open it."""
    timing: Timing = field(default_factory=Timing)

    def read(self, sli: Sli) -> SliReading:
        return self.signals.read(sli, self.clock.now())

    async def all_gone(self, incident: IncidentId) -> bool:
        """Whether every finding of the incident is known to be over."""
        findings = await self.incidents.findings(incident)
        left = [each for each in findings if not resolved(each, self.signals, self.now(), self.detectors)]
        if not left or any(each.mode is not FailureMode.PROVIDER_OUTAGE for each in left):
            return bool(findings) and not left
        drained = await self._drained(left)
        return all_resolved(left, self.signals, self.now(), self.detectors, drained)

    async def _drained(self, findings: Iterable[Finding]) -> Collection[Subject]:
        """Deployments that get nothing, though not because of a remedy of ours: that would be given back."""
        ours = {remedy.change.target.id for remedy in await self.remedies.in_force()}
        blamed = {each for finding in findings for each in deployments(finding) if each.id not in ours}
        return await self.planner.world.drained(blamed) if blamed else ()

    def now(self) -> datetime:
        return self.clock.now()
