"""What only a span says: a forged way to somebody's key is found, told, and never acted on alone."""

from __future__ import annotations

from functools import partial

import pytest
from tests.testbed.decisions import a_grant, a_policy, an_input
from tests.testbed.findings import again
from tests.testbed.traffic import at, call, span

from watchkeeper.agents.detector.config import DetectorConfig
from watchkeeper.agents.detector.drafting import Detected
from watchkeeper.agents.detector.evaluate import Detectors
from watchkeeper.agents.diagnoser.gateway import diagnose
from watchkeeper.core.decisions import Verdict
from watchkeeper.core.diagnosis import Cause
from watchkeeper.core.ids import DiagnosisId, IncidentId
from watchkeeper.core.signals import Signal, SpanOp
from watchkeeper.core.topology import ServiceEntry, Topology
from watchkeeper.policies.decide import decide
from watchkeeper.signals.state import SignalState, StateConfig

SERVICES = (
    ServiceEntry(name="svc", agents=("bot",), keys=("key-a",)),
    ServiceEntry(name="other", agents=("evil",), keys=("key-evil",)),
)


def loop(*, agent: str, key: str, service: str = "svc", joined: bool = False) -> list[Signal]:
    """The same tool call twenty times, each with a model call, as spans tell it; and as the gateway does, if joined."""
    signals: list[Signal] = []
    for n in range(20):
        told = partial(span, agent=agent, service=service)
        signals.append(told(f"t{n}", at(n), SpanOp.TOOL, tool="x", digest="same"))
        signals.append(told(f"m{n}", at(n), SpanOp.MODEL, key="" if joined else key, call_id=f"c{n}"))
        signals += [call(f"c{n}", at(n), key=key)] if joined else []
    return signals


def diagnosed(signals: list[Signal], services: tuple[ServiceEntry, ...] = SERVICES) -> tuple[Detected, Cause]:
    state = SignalState(StateConfig(), Topology(services=services))
    for signal in signals:
        state.apply(signal, at(20))
    (found,) = (
        each for each in Detectors(DetectorConfig()).evaluate(state, at(20)) if each.finding.mode == "runaway_loop"
    )
    made = diagnose(IncidentId("inc_1"), (again(found),), state, at(20), DiagnosisId("dgn_1"))
    return found, made.diagnosis.causes[0]


@pytest.mark.parametrize(
    ("agent", "key", "service"),
    [
        ("evil", "key-a", "other"),
        ("evil", "key-a", "svc"),
        ("nobody", "key-a", "svc"),
        ("bot", "key-evil", "svc"),
        ("", "key-a", "other"),
        ("", "key-a", ""),
    ],
)
def test_a_forged_span_leads_to_a_proposal_at_most(agent: str, key: str, service: str) -> None:
    _, cause = diagnosed(loop(agent=agent, key=key, service=service))
    assert str(cause.subject) == f"key:{key}"
    assert not cause.edge_proven
    decided = decide(a_policy(a_grant()), an_input(edge_proven=cause.edge_proven, mode=cause.mode, confidence=0.99))
    assert decided.verdict is Verdict.REQUIRE_APPROVAL


@pytest.mark.parametrize(
    ("agent", "service", "joined"), [("bot", "svc", False), ("nobody", "", True), ("", "svc", False), ("", "", True)]
)
def test_configuration_or_the_gateways_own_record_proves_the_way(agent: str, service: str, joined: bool) -> None:
    _, cause = diagnosed(loop(agent=agent, key="key-a", service=service, joined=joined))
    assert (str(cause.subject), cause.edge_proven) == ("key:key-a", True)
    decided = decide(a_policy(a_grant()), an_input(edge_proven=cause.edge_proven, mode=cause.mode, confidence=0.99))
    assert decided.verdict is Verdict.ALLOW


def test_a_forged_key_does_not_hide_the_one_that_the_gateway_names() -> None:
    forged = [
        span(f"f{n}", at(n / 10), SpanOp.MODEL, agent="nobody", key="key-evil", call_id=f"x{n}") for n in range(99)
    ]
    found, cause = diagnosed([*loop(agent="nobody", key="key-a", service="", joined=True), *forged])
    assert str(cause.subject) == "key:key-a"
    assert cause.edge_proven
    assert str(found.finding.subject) == "agent:nobody"
