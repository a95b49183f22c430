"""Runbooks for targets of the infrastructure: the cause names what is acted on, and nothing else does."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import resources

import pytest

from watchkeeper.cli.offers import offers
from watchkeeper.core.actions import Intent
from watchkeeper.core.diagnosis import Cause, Diagnosis
from watchkeeper.core.findings import FailureMode, Sign
from watchkeeper.core.ids import DiagnosisId, FindingId, IncidentId
from watchkeeper.core.subjects import Subject, SubjectKind
from watchkeeper.runbooks.facts import ResolveFacts
from watchkeeper.runbooks.loader import load_catalog, parse
from watchkeeper.runbooks.resolve import NotApplicable, Proposal, candidates, resolve

CATALOG = load_catalog()
FACTS = ResolveFacts(adapter="kubernetes:prod")


def diagnosis(mode: FailureMode, target: str) -> Diagnosis:
    cause = Cause(
        mode=mode,
        subject=Subject(kind=SubjectKind.TARGET, id=target),
        confidence=0.85,
        signs=(Sign.ALERT_RULE,),
        findings=(FindingId("fnd_1"),),
    )
    return Diagnosis(
        id=DiagnosisId("dia_1"),
        incident=IncidentId("inc_1"),
        diagnoser="diagnoser/gateway",
        at=datetime(2026, 1, 2, tzinfo=UTC),
        causes=(cause,),
        novel=False,
        state_digest="",
        code_digest="",
    )


@pytest.mark.parametrize(
    ("mode", "kind", "runbook", "intent"),
    [
        (FailureMode.CRASH_LOOP, "kube_deployment", "roll-back-workload", Intent.ROLLBACK),
        (FailureMode.BAD_DEPLOY, "statefulset", "roll-back-workload", Intent.ROLLBACK),
        (FailureMode.STUCK_ROLLOUT, "daemonset", "roll-back-workload", Intent.ROLLBACK),
        (FailureMode.OUT_OF_MEMORY, "kube_deployment", "give-memory", Intent.SET_RESOURCES),
        (FailureMode.SATURATION, "kube_deployment", "scale-replicas", Intent.SCALE),
        (FailureMode.QUEUE_BACKLOG, "statefulset", "scale-replicas", Intent.SCALE),
        (FailureMode.HUNG_PROCESS, "pod", "restart-pod", Intent.RESTART),
        (FailureMode.CRASH_LOOP, "pod", "restart-pod", Intent.RESTART),
        (FailureMode.NODE_NOT_READY, "node", "cordon-node", Intent.CORDON),
    ],
)
def test_the_cause_names_the_target_and_its_kind_the_runbook(
    mode: FailureMode, kind: str, runbook: str, intent: Intent
) -> None:
    told = diagnosis(mode, f"kubernetes:prod/{kind}/shop/web")
    (fits,) = candidates(CATALOG, told)
    assert fits.name == runbook
    found = resolve(fits, told, (), FACTS)
    assert isinstance(found, Proposal)
    (action,) = found.actions
    assert (str(action.target), action.intent) == (f"kubernetes:prod/{kind}/shop/web", intent)
    assert found.verification.sli.subject.id == str(action.target)


def test_a_mode_on_a_kind_that_no_runbook_is_for_has_none() -> None:
    assert candidates(CATALOG, diagnosis(FailureMode.OUT_OF_MEMORY, "kubernetes:prod/node/n1")) == ()


def test_a_subject_that_is_no_target_is_not_acted_on() -> None:
    told = diagnosis(FailureMode.CRASH_LOOP, "not-a-target")
    runbook = CATALOG.get("roll-back-workload")
    assert candidates(CATALOG, told) == ()
    found = resolve(runbook, told, (), FACTS)
    assert isinstance(found, NotApplicable)


BAD = (
    ("subjects: [target]", "subjects: [key]", "subjects_and_targets"),
    ("targets: [kube_deployment, statefulset, daemonset]", "targets: []", "subjects_and_targets"),
    ("undo: captured", "undo: none", "undo_given_up"),
)


@pytest.mark.parametrize(("old", "new", "code"), BAD)
def test_the_lint_names_what_does_not_fit(old: str, new: str, code: str) -> None:
    text = (resources.files("watchkeeper.runbooks") / "catalog" / "roll-back-workload.yaml").read_text(encoding="utf-8")
    assert old in text
    (linted,) = parse(text.replace(old, new, 1), "test.yaml", offers())
    assert code in {finding.code for _, finding in linted.findings}
