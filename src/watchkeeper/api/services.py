"""What the API works with. The composition root fills it in; the routes hold no state."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from pydantic import Field

from watchkeeper.agents.editing import Editing
from watchkeeper.agents.incidents import Incidents
from watchkeeper.agents.outbox import Outbox
from watchkeeper.agents.rollout import Rollouts
from watchkeeper.agents.roster import Roster
from watchkeeper.agents.stopping import Stopping
from watchkeeper.api.tokens import Tokens
from watchkeeper.core.clock import Clock
from watchkeeper.core.model import Contract, Instant
from watchkeeper.ledger.checks.verify import Progress, VerifyReport
from watchkeeper.ledger.cosigning.cosigned import WitnessReport
from watchkeeper.ledger.evidence.erase import Eraser
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.ledger.reader import LogReader
from watchkeeper.ledger.retention.upkeep import Upkeep
from watchkeeper.policies.approval.approvals import Approvals
from watchkeeper.policies.budgets.service import ErrorBudgets
from watchkeeper.policies.claiming.claims import Claims
from watchkeeper.policies.remedies import Remedies
from watchkeeper.policies.revocation.epochs import Epochs
from watchkeeper.policies.trust.service import Trust
from watchkeeper.policies.versions import PolicyVersions
from watchkeeper.signals.alertmanager import AlertmanagerConfig
from watchkeeper.signals.intake import Intake
from watchkeeper.signals.sources import SourceBook
from watchkeeper.store.engine import Store


class HealthReport(Contract):
    """`acting` is false while the database, the ledger or the clock cannot be trusted; `why` is an error code.

    `sources` gives each one's state alone: a probe has no token, and the details are not for everybody.
    """

    acting: bool
    why: str = ""
    since: Instant | None = None
    signals_waiting: int = 0
    sources: dict[str, str] = Field(default_factory=dict)


class Witnessing(Protocol):
    """What is known of the witnesses that cosign this log."""

    async def report(self) -> WitnessReport: ...

    async def cosigned(self) -> str | None:
        """The newest checkpoint that the configured policy calls valid."""
        ...


class Check(Protocol):
    """Checks the log against an anchor, if one is given, and tells how far it is."""

    def __call__(self, anchor: str | None, progress: Progress | None = None, /) -> Awaitable[VerifyReport]: ...


@dataclass(frozen=True)
class Services:
    clock: Clock
    tokens: Tokens
    intake: Intake
    book: SourceBook
    incidents: Incidents
    approvals: Approvals
    claims: Claims
    epochs: Epochs
    remedies: Remedies
    trust: Trust
    roster: Roster
    budgets: ErrorBudgets
    rollouts: Rollouts
    editing: Editing
    stopping: Stopping
    outbox: Outbox
    versions: PolicyVersions
    log: LogReader
    evidence: Evidence
    eraser: Eraser
    upkeep: Upkeep
    alertmanager: AlertmanagerConfig
    health: Callable[[], HealthReport]
    verify: Check
    fsck: Check
    vkey: str
    witnessing: Witnessing
    store: Store
    guarding: str = "triggers"
    """What keeps the database role of this daemon from changing the record."""
