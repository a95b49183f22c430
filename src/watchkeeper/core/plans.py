"""A plan: resolved actions on named targets, and what success, hold, release and undo mean for them.

The plan hash covers every field; an edited plan is another plan. Authority is not in it: policy decides that.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from watchkeeper.core.actions import Action, Change
from watchkeeper.core.digest import digest_of
from watchkeeper.core.findings import FailureMode, Severity, Sign
from watchkeeper.core.ids import FindingId, IncidentId, PlanId
from watchkeeper.core.model import Contract, Instant
from watchkeeper.core.sli import Sli
from watchkeeper.core.subjects import Edge, Scope, Subject


class Verification(Contract):
    """Read `sli` and all `guards` at each horizon (seconds after the effect); the last horizon decides."""

    sli: Sli
    guards: tuple[Sli, ...] = ()
    horizons_s: tuple[float, ...] = Field(min_length=1)


class Release(Contract):
    """After `hold_s` of recovery, give back in `steps` (factors 0..1 of the way to the captured state, the last is 1),
    watching `watch_s` after each. A relapse re-applies and doubles the hold, at most `max_relapses` times."""

    hold_s: float = Field(ge=0)
    steps: tuple[float, ...] = Field(min_length=1)
    watch_s: float = Field(ge=0)
    max_relapses: int = Field(default=3, ge=0)


class Basis(Contract):
    """What the plan answers: the breach is checked again at the claim, and a plan whose breach is gone is moot."""

    mode: FailureMode
    cause: Subject
    confidence: float = Field(ge=0, le=1)
    novel: bool
    edges: tuple[Edge, ...]
    signs: tuple[Sign, ...]
    severity: Severity
    findings: tuple[FindingId, ...]
    breach: Sli
    agents: tuple[str, ...] = Field(default=(), exclude_if=lambda names: not names)
    """The detectors and the diagnoser that it rests on, sorted; none: made before this was kept."""
    onset: Instant | None = None
    """When the trouble began: the breach is read from here on, so that what was well before it cannot hide it."""

    def breach_at(self, now: datetime, least_s: float) -> Sli:
        """The breach as it is read at `now`: over the time since the onset, at least `least_s`, never more than the
        declared window."""
        if self.onset is None:
            return self.breach
        since_s = (now - self.onset).total_seconds() + least_s
        return self.breach.model_copy(update={"window_s": min(self.breach.window_s, max(least_s, since_s))})


class RunbookRef(Contract):
    name: str
    digest: str


class Plan(Contract):
    schema_name = "watchkeeper.dev/plan/v1"
    id: PlanId
    incident: IncidentId
    runbook: RunbookRef
    remediator: str
    manifest_digest: str
    scope: Scope
    made: Instant
    basis: Basis
    actions: tuple[Action, ...] = Field(min_length=1)
    changes: tuple[Change, ...]
    """The dry run's answer for each action, in order: the captured undo is its inverse."""
    verification: Verification
    release: Release | None
    """None: the remedy is not given back by us (it restores itself, or a person does)."""
    remedy_ttl_s: float = Field(gt=0)
    authors: tuple[str, ...] = ()
    """The people who edited it, by principal id, sorted; none: it came from evidence and runbook alone."""
    edited_from: PlanId | None = None

    @property
    def agents(self) -> tuple[str, ...]:
        """Every agent that had a part in it: who saw, who said why, and who acts."""
        return (self.remediator, *self.basis.agents)

    @property
    def plan_hash(self) -> str:
        return digest_of(self)
