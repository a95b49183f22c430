"""Corners of blame: the gateway's own refusals, cool-down, providers without deployments, supporting signs."""

from __future__ import annotations

from collections.abc import Iterable

from tests.testbed.traffic import at, call, span, subject

from watchkeeper.agents.detector import provider_outage
from watchkeeper.agents.detector.config import ProviderOutageConfig
from watchkeeper.core.findings import Finding, Sign
from watchkeeper.core.signals import ErrorClass, Event, EventKind, Sample, Signal, SpanOp
from watchkeeper.core.subjects import SubjectKind
from watchkeeper.core.topology import Topology
from watchkeeper.signals.state import SignalState, StateConfig

TERMS = ProviderOutageConfig()
DEPLOYMENT = subject(SubjectKind.DEPLOYMENT, "dep-1")


def found(signals: Iterable[Signal], terms: ProviderOutageConfig = TERMS) -> list[Finding]:
    state = SignalState(StateConfig(bucket_s=5, step_s=10), Topology())
    for signal in signals:
        state.apply(signal, at(60))
    return [each.finding for each in provider_outage.evaluate(state, terms, at(60))]


def failures(count: int, error: ErrorClass, deployment: str = "dep-1", first: int = 40) -> list[Signal]:
    return [
        call(f"f{deployment}{n}", at(first + n % 20), error=error, deployment=deployment, cost=0) for n in range(count)
    ]


def test_invariant_12_refusals_by_limits_and_callers_faults_are_no_outage() -> None:
    for error in (ErrorClass.LIMITED, ErrorClass.CLIENT, ErrorClass.AUTH, ErrorClass.OTHER):
        assert found(failures(100, error)) == []


def test_too_few_calls_are_no_outage() -> None:
    assert found(failures(TERMS.min_calls - 1, ErrorClass.SERVER)) == []
    assert len(found(failures(TERMS.min_calls * 2, ErrorClass.SERVER))) == 1


def test_one_bad_bucket_is_no_outage() -> None:
    good = [call(f"g{n}", at(40 + n % 15)) for n in range(30)]
    bad = [call(f"b{n}", at(56), error=ErrorClass.SERVER) for n in range(30)]
    assert found([*good, *bad]) == []


def test_an_outage_that_is_over_is_none() -> None:
    bad = failures(50, ErrorClass.SERVER, first=20)
    assert found([*bad, *(call(f"g{n}", at(45 + n % 15)) for n in range(30))]) == []


def test_failures_of_a_cooling_gateway_that_name_nobody_belong_to_the_only_deployment_that_served() -> None:
    before: list[Signal] = [call(f"g{n}", at(n)) for n in range(30)]
    own = [call(f"o{n}", at(41 + n * 5), error=ErrorClass.RATE_LIMITED) for n in range(3)]
    unnamed = [
        call(f"u{n}", at(40 + n % 20), error=ErrorClass.RATE_LIMITED, deployment="", provider="") for n in range(40)
    ]
    assert found([*before, *own]) == []
    (finding,) = found([*before, *own, *unnamed])
    assert str(finding.subject) == "deployment:dep-1"
    sibling: list[Signal] = [call(f"s{n}", at(n), deployment="dep-2") for n in range(30)]
    assert found([*before, *own, *unnamed, *sibling]) == []


def test_a_provider_known_from_spans_alone_is_blamed_itself() -> None:
    spans = [
        span(f"s{n}", at(40 + n), SpanOp.MODEL, error=ErrorClass.TIMEOUT).model_copy(update={"provider": "azure"})
        for n in range(20)
    ]
    (finding,) = found(spans)
    assert str(finding.subject) == "provider:azure"


def test_gauge_and_alert_support_a_finding_and_never_make_one() -> None:
    support: list[Signal] = [
        Sample(id="s", source="prom", at=at(50), name=TERMS.state_series, subject=DEPLOYMENT, value=2),
        Event(id="e", source="am", at=at(50), kind=EventKind.ALERT, name="Down", subject=DEPLOYMENT),
    ]
    assert found([*support, *(call(f"g{n}", at(40 + n % 20)) for n in range(30))]) == []
    (finding,) = found([*support, *failures(30, ErrorClass.SERVER)])
    assert [each.sign for each in finding.observations] == [Sign.HTTP_5XX, Sign.GATEWAY_STATE, Sign.ALERT]
