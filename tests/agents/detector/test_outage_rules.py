"""Corners of blame: the gateway's own refusals, cool-down, providers without deployments, supporting signs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from tests.testbed.findings import again
from tests.testbed.traffic import at, call, span, subject

from watchkeeper.agents.detector import provider_outage
from watchkeeper.agents.detector.clear import resolved
from watchkeeper.agents.detector.config import ProviderOutageConfig
from watchkeeper.agents.diagnoser.confidence import strength
from watchkeeper.core.findings import Finding, Sign
from watchkeeper.core.signals import ErrorClass, Event, EventKind, Sample, Signal, SpanOp
from watchkeeper.core.subjects import Edge, EdgeSource, Subject, SubjectKind
from watchkeeper.core.topology import Topology
from watchkeeper.signals.state import SignalState, StateConfig

TERMS = ProviderOutageConfig()
DEPLOYMENT = subject(SubjectKind.DEPLOYMENT, "dep-1")


def found(signals: Iterable[Signal], terms: ProviderOutageConfig = TERMS) -> list[Finding]:
    state = SignalState(StateConfig(bucket_s=5, step_s=10), Topology())
    for signal in signals:
        state.apply(signal, at(60))
    return [again(each) for each in provider_outage.evaluate(state, terms, at(60))]


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


def edge(source: Subject, target: Subject, known_from: EdgeSource = EdgeSource.INVENTORY) -> Edge:
    return Edge(source=source, target=target, known_from=known_from)


MODEL, SIBLING = subject(SubjectKind.MODEL, "chat"), subject(SubjectKind.DEPLOYMENT, "dep-2")
PROVIDER = subject(SubjectKind.PROVIDER, "openai")
LISTED = (edge(MODEL, DEPLOYMENT), edge(DEPLOYMENT, PROVIDER), edge(MODEL, SIBLING))


def outage_of(*edges: Edge, about: Subject = DEPLOYMENT) -> tuple[SignalState, Finding]:
    """A state in which the deployment fails, and no call has come to it since, though others did."""
    state = SignalState(StateConfig(bucket_s=5, step_s=10), Topology())
    state.learn(edges, "main")
    for signal in failures(30, ErrorClass.SERVER):
        state.apply(signal, at(60))
    (finding,) = [again(each) for each in provider_outage.evaluate(state, TERMS, at(60))]
    state.apply(call("later", LATER, deployment="dep-2"), LATER)
    return state, finding.model_copy(update={"subject": about})


LATER = at(60 + 2 * int(TERMS.window_s))


def test_a_deployment_that_its_gateway_no_longer_lists_is_no_trouble_any_more() -> None:
    state, finding = outage_of(*LISTED)
    assert not resolved(finding, state, LATER)
    state.learn((edge(MODEL, SIBLING),), "main")
    assert resolved(finding, state, LATER)


def test_a_provider_whose_every_deployment_is_gone_is_no_trouble_any_more() -> None:
    state, finding = outage_of(*LISTED, about=PROVIDER)
    assert not resolved(finding, state, LATER)
    state.learn((edge(MODEL, SIBLING),), "main")
    assert resolved(finding, state, LATER)


def test_an_inventory_that_is_not_known_proves_no_removal() -> None:
    """After a restart without a snapshot, or where the whole group is gone, only a person can say that it is over."""
    state, finding = outage_of(*LISTED)
    state.learn((), "main")
    assert not resolved(finding, state, LATER)
    state, finding = outage_of(edge(MODEL, DEPLOYMENT, EdgeSource.CALL_ID), edge(MODEL, SIBLING))
    state.learn((edge(MODEL, SIBLING),), "main")
    assert not resolved(finding, state, LATER), "it was never in an inventory"


def test_a_drained_deployment_is_over_once_no_call_has_come_to_it() -> None:
    state, finding = outage_of(*LISTED)
    assert not resolved(finding, state, LATER)
    assert not resolved(finding, state, at(62), drained=(DEPLOYMENT,)), "calls still fail there"
    assert not resolved(finding, state, LATER, drained=(SIBLING,))
    assert resolved(finding, state, LATER, drained=(DEPLOYMENT,))
    silent = LATER + timedelta(seconds=TERMS.window_s + 1)
    assert not resolved(finding, state, silent, drained=(DEPLOYMENT,)), "nothing was heard at all"


def test_invariant_12_a_finding_names_what_was_changed_by_others_and_by_us() -> None:
    def change(name: str, kind: EventKind, second: int, about: Subject, active: bool = True) -> Event:
        return Event(id=name, source="s", at=at(second), kind=kind, name=name, subject=about, active=active)

    changes: list[Signal] = [
        change("shift", EventKind.OWN_EFFECT, 30, DEPLOYMENT),
        change("failed", EventKind.OWN_EFFECT, 31, DEPLOYMENT, active=False),
        change("deploy", EventKind.DEPLOY, 20, DEPLOYMENT),
        change("model", EventKind.MODEL_CHANGE, 25, DEPLOYMENT),
        change("elsewhere", EventKind.DEPLOY, 30, SIBLING),
        change("long ago", EventKind.DEPLOY, -2000, DEPLOYMENT),
        change("score", EventKind.EVAL_RESULT, 30, DEPLOYMENT),
    ]
    (finding,) = found([*failures(30, ErrorClass.SERVER), *changes])
    assert [(each.sign, each.observed) for each in finding.observations] == [
        (Sign.HTTP_5XX, 1.0),
        (Sign.OWN_EFFECT, 1.0),
        (Sign.RECENT_CHANGE, 2.0),
    ]
    (plain,) = found(failures(30, ErrorClass.SERVER))
    assert strength(finding.observations) == strength(plain.observations), "a change is told, not weighed"
