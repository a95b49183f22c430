"""From a diagnosis to a plan: the first runbook that applies, asked of the target, with its change captured.

The adapter's precheck and dry run are reads; nothing is changed here. Which targets and numbers a plan holds comes
from evidence and inventory alone (invariant 7).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from watchkeeper.adapters.contract import Registry
from watchkeeper.adapters.recorder import under
from watchkeeper.agents.manifest import manifest_digest
from watchkeeper.agents.records import Obstacle, Proposed
from watchkeeper.agents.remediator.world import World
from watchkeeper.core.actions import Action, Change
from watchkeeper.core.diagnosis import Diagnosis
from watchkeeper.core.errors import AdapterError, ConflictError, RefusedError
from watchkeeper.core.findings import Finding
from watchkeeper.core.ids import IncidentId, PlanId, new_id
from watchkeeper.core.plans import Basis, Plan
from watchkeeper.core.subjects import Scope, SubjectKind
from watchkeeper.runbooks.loader import Catalog
from watchkeeper.runbooks.resolve import NotApplicable, Proposal, candidates, resolve

log = structlog.get_logger(__name__)

MAX_KEYS = 16
"""Keys whose state is read from the gateway for one plan."""


@dataclass(frozen=True)
class _Refused:
    """`reason` is a code; `obstacles` are the targets that named it, none where it is not theirs."""

    reason: str
    obstacles: tuple[Obstacle, ...] = ()


@dataclass(frozen=True)
class Planner:
    catalog: Catalog
    world: World
    adapters: Registry

    async def propose(
        self, incident: IncidentId, scope: Scope, diagnosis: Diagnosis, findings: Sequence[Finding], now: datetime
    ) -> Proposed:
        """The first runbook, best fit first, that resolves and that its target accepts; or why none does."""
        runbooks = candidates(self.catalog, diagnosis)
        if not runbooks:
            return Proposed(plan=None, refused=("no_runbook_fits",))
        try:
            with under(incident=incident):
                worlds = self.world.targets(diagnosis)
                if any(cause.subject.kind is not SubjectKind.TARGET for cause in diagnosis.causes):
                    worlds += await self.world.facts(_keys(diagnosis, findings))
        except AdapterError as error:
            log.warning("inventory_not_read", what=error.what)
            return Proposed(plan=None, refused=("gateway_unreachable",))
        refused: list[str] = []
        obstacles: list[Obstacle] = []
        for runbook in runbooks:
            for facts in worlds:
                found = resolve(runbook, diagnosis, findings, facts)
                if isinstance(found, NotApplicable):
                    refused.append(f"{runbook.name}: {found.reason}")
                    continue
                plan = await self._ask_targets(incident, scope, found, diagnosis, findings, now)
                if isinstance(plan, Plan):
                    return Proposed(plan=plan, refused=tuple(refused))
                refused.append(f"{runbook.name}: {plan.reason}")
                obstacles += plan.obstacles
        return Proposed(
            plan=None, refused=tuple(refused) or ("no_gateway_managed",), obstacles=tuple(dict.fromkeys(obstacles))
        )

    async def _ask_targets(
        self,
        incident: IncidentId,
        scope: Scope,
        found: Proposal,
        diagnosis: Diagnosis,
        findings: Sequence[Finding],
        now: datetime,
    ) -> Plan | _Refused:
        actions: list[Action] = []
        changes: list[Change] = []
        obstacles: list[Obstacle] = []
        for action in found.actions:
            answer = await self._ask(incident, action)
            match answer:
                case Obstacle():
                    obstacles.append(answer)
                case _Refused():
                    return answer
                case (asked, change):
                    actions.append(asked)
                    changes.append(change)
        if obstacles:
            return _Refused(obstacles[0].reason, tuple(obstacles))
        if not any(field.before != field.after for change in changes for field in change.fields):
            return _Refused("nothing_to_change")
        remediator = f"remediator/{actions[0].target.adapter.partition(':')[0]}"
        return Plan(
            id=PlanId(new_id("pln", now)),
            incident=incident,
            runbook=found.runbook,
            remediator=remediator,
            manifest_digest=manifest_digest(remediator),
            scope=scope,
            made=now,
            basis=_basis(found, diagnosis, findings),
            actions=tuple(actions),
            changes=tuple(changes),
            verification=found.verification,
            release=found.release,
            remedy_ttl_s=found.remedy_ttl_s,
        )

    async def changes(self, incident: IncidentId, actions: Sequence[Action]) -> tuple[Change, ...]:
        """What these actions would change now. Raises ConflictError where a target would refuse, or does not answer."""
        found = []
        for action in actions:
            match await self._ask(incident, action):
                case (_, change):
                    found.append(change)
                case refusal:
                    raise ConflictError(
                        f"{action.target} does not take this: {refusal.reason}",
                        cause="its adapter looked at the target and said no",
                        next_step=(refusal.fix if isinstance(refusal, Obstacle) else "") or "watchkeeper status",
                    )
        return tuple(found)

    async def _ask(self, incident: IncidentId, action: Action) -> tuple[Action, Change] | Obstacle | _Refused:
        """The action as its adapter has it, and what it would change."""
        capability = self.adapters.capability(action.target, action.intent)
        if capability is None:
            return _Refused("intent_not_supported")
        action = action.model_copy(update={"kind": capability.kind})
        try:
            with under(incident=incident):
                return action, await self.adapters.get(action.target.adapter).dry_run(action)
        except RefusedError as error:
            return Obstacle(target=str(action.target), reason=error.reason, fix=error.next_step)
        except AdapterError as error:
            log.warning("dry_run_failed", target=str(action.target), what=error.what)
            return _Refused("target_unreachable")


def _keys(diagnosis: Diagnosis, findings: Sequence[Finding]) -> tuple[str, ...]:
    """The gateway keys that a cause is, or that an edge from it leads to; nearest first, bounded."""
    edges = [edge for cause in diagnosis.causes for edge in cause.path]
    edges += [edge for finding in findings for edge in finding.edges]
    subjects = [cause.subject for cause in diagnosis.causes]
    subjects += [end for edge in edges for end in (edge.source, edge.target)]
    named = (subject.id for subject in subjects if subject.kind is SubjectKind.KEY)
    return tuple(dict.fromkeys(named))[:MAX_KEYS]


def _basis(found: Proposal, diagnosis: Diagnosis, findings: Sequence[Finding]) -> Basis:
    cause = found.cause
    meant = [finding for finding in findings if finding.id in cause.findings]
    severities = [finding.severity for finding in meant]
    return Basis(
        mode=cause.mode,
        cause=cause.subject,
        confidence=cause.confidence,
        novel=False,
        edges=found.edges,
        signs=cause.signs,
        severity=max(severities, key=lambda severity: severity.rank),
        findings=cause.findings,
        breach=found.breach,
        agents=tuple(sorted({diagnosis.diagnoser, *(finding.detector for finding in meant)})),
        onset=min(finding.onset for finding in meant),
    )
