"""Alerts on what can be acted on: mapped by name, one finding per target and mode, over when the alert is."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from watchkeeper.agents.detector import alerts, clear
from watchkeeper.agents.detector.basis import Basis
from watchkeeper.agents.detector.config import AlertsConfig, DetectorConfig
from watchkeeper.agents.detector.evaluate import Detectors, judge_again
from watchkeeper.agents.diagnoser import gateway
from watchkeeper.core.findings import FailureMode, Severity
from watchkeeper.core.ids import DiagnosisId, IncidentId
from watchkeeper.core.sli import Comparison, Measure, Sli, SliStatus
from watchkeeper.core.subjects import Subject, SubjectKind
from watchkeeper.core.topology import ServiceEntry, Topology
from watchkeeper.signals.alertmanager import AlertmanagerConfig, TargetRule, decode
from watchkeeper.signals.state import SignalState, StateConfig

T0 = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WEB = Subject(kind=SubjectKind.TARGET, id="kubernetes:prod/kube_deployment/shop/web")
RULES = AlertmanagerConfig(
    targets=(
        TargetRule(adapter="kubernetes:prod", kind="kube_deployment", id="{namespace}/{deployment}"),
        TargetRule(adapter="kubernetes:prod", kind="node", id="{node}", when={"cluster": "prod"}),
    )
)
TOPOLOGY = Topology(services=(ServiceEntry(name="shop", targets=("kubernetes:prod/kube_deployment/shop/*",)),))


def webhook(name: str, status: str = "firing", at: datetime = T0, **labels: str) -> bytes:
    ends = at.isoformat() if status == "resolved" else "0001-01-01T00:00:00Z"
    alert = {
        "status": status,
        "labels": {"alertname": name, **labels},
        "startsAt": T0.isoformat(),
        "endsAt": ends,
        "fingerprint": f"{name}-{sorted(labels.items())}"[:64],
    }
    return json.dumps({"version": "4", "groupKey": "g", "alerts": [alert]}).encode()


def state_with(*bodies: bytes) -> SignalState:
    state = SignalState(StateConfig(), TOPOLOGY)
    for body in bodies:
        for event in decode(body, RULES):
            state.apply(event, T0)
    return state


CRASHING = webhook("KubePodCrashLooping", namespace="shop", deployment="web")


def test_a_mapped_alert_is_a_finding_about_its_target_in_its_service() -> None:
    (found,) = Detectors(DetectorConfig()).evaluate(state_with(CRASHING), T0 + timedelta(minutes=1))
    finding = found.finding
    assert (finding.mode, finding.subject, finding.scope.service) == (FailureMode.CRASH_LOOP, WEB, "shop")
    assert (finding.onset, finding.severity) == (T0, Severity.WARNING)


def test_what_was_found_is_found_again_from_its_basis() -> None:
    (found,) = alerts.evaluate(state_with(CRASHING), AlertsConfig(), T0)
    basis = Basis.model_validate_json(found.snapshot)
    assert basis.facts is not None
    again = judge_again(basis, basis.facts)
    assert again is not None
    assert again.model_copy(update={"state_digest": found.finding.state_digest}) == found.finding


@pytest.mark.parametrize(
    "body",
    [
        webhook("SomethingElse", namespace="shop", deployment="web"),
        webhook("KubePodCrashLooping", namespace="shop"),
        webhook("KubeNodeNotReady", node="n1", cluster="staging"),
        webhook("KubePodCrashLooping", "resolved", namespace="shop", deployment="web"),
    ],
)
def test_an_alert_that_is_not_mapped_or_names_no_target_starts_nothing(body: bytes) -> None:
    assert alerts.evaluate(state_with(body), AlertsConfig(), T0) == ()


def test_two_alerts_of_one_mode_on_one_target_are_one_finding() -> None:
    also = webhook("KubePodNotReady", namespace="shop", deployment="web")
    (found,) = alerts.evaluate(state_with(CRASHING, also), AlertsConfig(), T0)
    assert found.finding.observations[0].observed == 2.0


def test_it_is_over_when_the_alert_is_and_not_before_however_long_it_takes() -> None:
    state = state_with(CRASHING)
    (found,) = alerts.evaluate(state, AlertsConfig(), T0)
    later = T0 + timedelta(days=3)
    state.tick(later)
    assert not clear.resolved(found.finding, state, later)
    (event,) = decode(webhook("KubePodCrashLooping", "resolved", later, namespace="shop", deployment="web"), RULES)
    state.apply(event, later)
    assert clear.resolved(found.finding, state, later)


def test_the_target_itself_is_the_cause_and_sure_enough_to_act_on() -> None:
    state = state_with(CRASHING)
    (found,) = alerts.evaluate(state, AlertsConfig(), T0)
    told = gateway.diagnose(IncidentId("inc_1"), [found.finding], state, T0, DiagnosisId("dia_1")).diagnosis
    assert [(cause.subject, cause.mode, cause.path) for cause in told.causes] == [(WEB, FailureMode.CRASH_LOOP, ())]
    assert told.causes[0].confidence >= 0.8
    assert not told.novel


def test_alerts_are_an_indicator_that_no_window_and_no_silence_can_clear() -> None:
    state = state_with(CRASHING)

    def status(at: datetime, subject: Subject = WEB) -> SliStatus:
        sli = Sli(measure=Measure.ALERTS_FIRING, subject=subject, op=Comparison.AT_MOST, threshold=0, window_s=60)
        return state.read(sli, at).status

    assert status(T0) is SliStatus.BREACHED
    assert status(T0 + timedelta(hours=1)) is SliStatus.BREACHED
    assert status(T0, WEB.model_copy(update={"id": "kubernetes:prod/kube_deployment/shop/api"})) is SliStatus.MET


def test_only_infrastructure_modes_are_told_by_alerts() -> None:
    with pytest.raises(ValidationError, match="not by an alert"):
        AlertsConfig(modes={"Costs": FailureMode.COST_SPIKE})
