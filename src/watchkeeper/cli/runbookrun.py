"""`runbook run --dry-run`: what a runbook would do to one target now, asked of the target's own adapter.

The cause is the one that is given; nothing was detected or diagnosed, and no policy is asked. It changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from watchkeeper.adapters.contract import Registry
from watchkeeper.core.actions import Action, Change, Target
from watchkeeper.core.diagnosis import Cause, Diagnosis
from watchkeeper.core.errors import InputError, RefusedError
from watchkeeper.core.findings import FailureMode, Sign
from watchkeeper.core.ids import DiagnosisId, FindingId, IncidentId
from watchkeeper.core.subjects import Subject, SubjectKind
from watchkeeper.runbooks.facts import ResolveFacts
from watchkeeper.runbooks.model import Runbook
from watchkeeper.runbooks.resolve import NotApplicable, resolve


@dataclass(frozen=True)
class Rehearsed:
    """One action, and what it would change, or why the target refuses it."""

    action: Action
    change: Change | None
    refused: RefusedError | None = None


def target_of(text: str) -> Target:
    found = Target.of(text)
    if found is None:
        raise InputError(
            f"{text!r} names no target",
            cause="a target is ADAPTER/KIND/ID",
            next_step="for example --target kubernetes:prod/kube_deployment/shop/web",
        )
    return found


async def rehearse(runbook: Runbook, target: Target, mode: FailureMode, adapters: Registry) -> list[Rehearsed]:
    """Raises RefusedError where the runbook does not apply, AdapterError where the target does not answer."""
    found = resolve(runbook, _diagnosis(target, mode), (), ResolveFacts(adapter=target.adapter))
    if isinstance(found, NotApplicable):
        raise RefusedError(
            f"{runbook.name} does not apply to {mode} of {target} ({found.reason})",
            reason=found.reason,
            cause="it is for another failure mode or kind of target, or needs what only signals tell",
            next_step=f"watchkeeper runbook show {runbook.name}",
        )
    return [await _asked(action, adapters) for action in found.actions]


async def _asked(action: Action, adapters: Registry) -> Rehearsed:
    capability = adapters.capability(action.target, action.intent)
    if capability is not None:
        action = action.model_copy(update={"kind": capability.kind})
    try:
        return Rehearsed(action, await adapters.get(action.target.adapter).dry_run(action))
    except RefusedError as refused:
        return Rehearsed(action, None, refused)


def _diagnosis(target: Target, mode: FailureMode) -> Diagnosis:
    cause = Cause(
        mode=mode,
        subject=Subject(kind=SubjectKind.TARGET, id=str(target)),
        confidence=1.0,
        signs=tuple(Sign),
        findings=(FindingId("fnd_given"),),
    )
    return Diagnosis(
        id=DiagnosisId("dia_given"),
        incident=IncidentId("inc_given"),
        diagnoser="",
        at=datetime.now(UTC),
        causes=(cause,),
        novel=False,
        state_digest="",
        code_digest="",
    )
