"""An outage that only a declared Prometheus query tells of."""

from __future__ import annotations

from tests.testbed.findings import again
from tests.testbed.traffic import at, call, subject

from watchkeeper.agents.detector.clear import resolved
from watchkeeper.agents.detector.config import DetectorConfig, ProviderOutageConfig
from watchkeeper.agents.detector.evaluate import Detectors
from watchkeeper.core.findings import FailureMode, Finding, Sign
from watchkeeper.core.signals import Sample
from watchkeeper.core.subjects import SubjectKind
from watchkeeper.core.topology import Topology
from watchkeeper.signals.state import SignalState, StateConfig

DEPLOYMENT = subject(SubjectKind.DEPLOYMENT, "dep-1")
CONFIG = DetectorConfig(provider_outage=ProviderOutageConfig(failure_series="failures"))


def told(*values: tuple[float, float], calls: int = 0, source: str = "prometheus/main") -> SignalState:
    state = SignalState(StateConfig(), Topology())
    for when, value in values:
        sample = Sample(id=f"s{when}", source=source, at=at(when), name="failures", subject=DEPLOYMENT, value=value)
        state.apply(sample, at(100))
    for n in range(calls):
        state.apply(call(f"c{n}", at(60 + n)), at(100))
    return state


def findings(state: SignalState, config: DetectorConfig = CONFIG) -> list[Finding]:
    return [again(each) for each in Detectors(config).evaluate(state, at(100))]


def test_a_share_of_failures_that_stays_is_an_outage() -> None:
    (found,) = findings(told((60, 0.1), (75, 0.8), (90, 0.9)))
    assert (found.mode, found.subject) == (FailureMode.PROVIDER_OUTAGE, DEPLOYMENT)
    (seen,) = found.observations
    assert (seen.sign, seen.observed, seen.expected) == (Sign.FAILURE_SERIES, 0.9, 0.5)
    assert found.onset == at(75)


def test_it_counts_beside_calls_that_went_well() -> None:
    assert findings(told((75, 0.8), (90, 0.9), calls=20))


def test_one_value_old_values_and_values_of_nobodys_query_make_no_finding() -> None:
    for state in (
        told((90, 0.9)),
        told((10, 0.9), (20, 0.9)),
        told((75, 0.9), (90, 0.1)),
        told((75, 1), (90, 1), source="otlp"),
    ):
        assert findings(state) == []
    assert findings(told((75, 0.9), (90, 0.9)), DetectorConfig()) == []


def test_it_is_over_when_the_series_says_so() -> None:
    (found,) = findings(told((75, 0.8), (90, 0.9)))
    assert not resolved(found, told((75, 0.8), (90, 0.9)), at(100), CONFIG)
    assert resolved(found, told((75, 0.0), (90, 0.1)), at(100), CONFIG)
    assert not resolved(found, told(), at(100), CONFIG)
