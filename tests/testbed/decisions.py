"""Decision inputs and policies for tests, from a few words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from watchkeeper.core.actions import ActionKind, Intent, Target
from watchkeeper.core.decisions import ActionRequest, DecisionInput, RateCount
from watchkeeper.core.findings import FailureMode, Severity, Sign
from watchkeeper.core.ids import IncidentId, PlanId
from watchkeeper.core.model import labels
from watchkeeper.core.subjects import Scope
from watchkeeper.policies.compile import Policy, compile_policy
from watchkeeper.policies.load import PolicySet
from watchkeeper.policies.model import KINDS, PolicyDocument

KEY = Target(adapter="litellm:main", kind="key", id="k1", labels=labels(team="research"))


def a_request(**changes: Any) -> ActionRequest:
    request = ActionRequest(
        step=0,
        intent=Intent.THROTTLE,
        kind=ActionKind.REVERSIBLE,
        target=KEY,
        blast_count=1,
        blast_population=3,
        undo_captured=True,
        verification_declared=True,
    )
    return request.model_copy(update=changes)


def an_input(*requests: ActionRequest, **changes: Any) -> DecisionInput:
    """What every gate lets pass, but for the changes."""
    given = DecisionInput(
        incident=IncidentId("inc_1"),
        plan=PlanId("pln_1"),
        plan_hash="sha256:00",
        runbook="throttle-runaway-caller",
        agent="remediator/litellm",
        manifest_digest="sha256:01",
        scope=Scope(environment="demo", service="chat"),
        mode=FailureMode.RUNAWAY_LOOP,
        severity=Severity.CRITICAL,
        confidence=0.9,
        novel=False,
        edge_proven=True,
        signs=(Sign.CYCLE,),
        requests=requests or (a_request(),),
        rates=(RateCount(window_s=3600, count=0),),
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return given.model_copy(update=changes)


def a_document(kind: str, name: str, match: dict[str, Any], **spec: Any) -> PolicyDocument:
    document = {
        "apiVersion": "watchkeeper.dev/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"match": match, **spec},
    }
    return KINDS[kind].model_validate(document)


def a_grant(name: str = "g", autonomy: str = "bounded", **spec: Any) -> PolicyDocument:
    """For everything in `demo`, unless `match` says otherwise."""
    match: dict[str, Any] = {
        "environments": ["demo"],
        "services": ["*"],
        "agents": ["*"],
        "runbooks": ["*"],
        "intents": ["*"],
        "targetKinds": ["*"],
    }
    match.update(spec.pop("match", {}))
    return a_document("Grant", name, match, autonomy=autonomy, **spec)


def a_limit(name: str = "l", **spec: Any) -> PolicyDocument:
    return a_document("Limit", name, spec.pop("match", {}), **spec)


def a_policy(*documents: PolicyDocument) -> Policy:
    return compile_policy(PolicySet(documents))
