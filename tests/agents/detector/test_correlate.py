"""One incident for one trouble, and one for each of two."""

from __future__ import annotations

import pytest
from tests.testbed.findings import (
    AGENT,
    DEPLOYMENT,
    KEY,
    MODEL,
    OTHER_KEY,
    PROVIDER,
    SPARE,
    link,
    loop,
    outage,
    spike,
)  # fmt: skip
from tests.testbed.traffic import at

from watchkeeper.agents.detector.correlate import Held, OpenIncident, correlate, way
from watchkeeper.core.findings import Finding, Sign
from watchkeeper.core.ids import IncidentId
from watchkeeper.core.subjects import EdgeSource, Subject


def incident(*findings: Finding, held: tuple[Subject, ...] = (), name: str = "inc_1") -> OpenIncident:
    marks = tuple(Held(subject=each, since=at(30)) for each in held)
    return OpenIncident(id=IncidentId(name), opened=at(10), findings=findings, held=marks)


def test_the_same_trouble_of_the_same_subject_joins_whenever_it_is_seen() -> None:
    later = loop(onset=at(90_000), detected=at(90_060))
    assert correlate(later, [incident(loop())]) == "inc_1"
    assert correlate(loop(), []) is None


@pytest.mark.parametrize(("first", "then"), [(loop(), spike()), (spike(), loop())])
def test_a_loop_and_the_cost_of_its_key_are_one_incident_whichever_is_seen_first(first: Finding, then: Finding) -> None:
    assert correlate(then, [incident(first)]) == "inc_1"


def test_a_loop_does_not_swallow_the_cost_of_another_key() -> None:
    assert correlate(spike(OTHER_KEY), [incident(loop())]) is None


def test_an_outage_does_not_swallow_a_cost_spike_or_a_loop_that_run_through_it() -> None:
    assert correlate(spike(), [incident(outage())]) is None
    assert correlate(loop(edges=link(AGENT, KEY, MODEL, DEPLOYMENT)), [incident(outage())]) is None


def test_a_provider_and_its_deployment_in_outage_are_one_incident() -> None:
    assert correlate(outage(PROVIDER), [incident(outage())]) == "inc_1"
    assert correlate(outage(SPARE, edges=link(MODEL, SPARE, PROVIDER)), [incident(outage())]) is None


def test_a_quota_used_up_by_a_spender_is_the_spenders_incident_but_a_failing_provider_is_not() -> None:
    spending = incident(spike())
    assert correlate(outage(sign=Sign.HTTP_429), [spending]) == "inc_1"
    assert correlate(outage(sign=Sign.HTTP_5XX), [spending]) is None


def test_troubles_that_do_not_overlap_in_time_are_two() -> None:
    late = spike(onset=at(10_000), detected=at(10_060))
    assert correlate(late, [incident(loop())]) is None


def test_a_way_that_is_only_inferred_joins_nothing() -> None:
    guess = loop(edges=link(AGENT, KEY, known_from=EdgeSource.INFERRED), attribution=())
    assert correlate(spike(), [incident(guess)]) is None


def test_invariant_12_what_a_remedy_explains_joins_its_incident() -> None:
    shifted = incident(outage(), held=(DEPLOYMENT,))
    overload = outage(SPARE, sign=Sign.HTTP_429, edges=link(MODEL, SPARE), onset=at(4000), detected=at(5000))
    assert correlate(overload, [shifted]) == "inc_1"
    assert correlate(spike(onset=at(4000), detected=at(5000)), [shifted]) is None
    throttled = incident(loop(), held=(KEY,))
    assert correlate(spike(onset=at(4000), detected=at(5000)), [throttled]) == "inc_1"
    assert correlate(outage(onset=at(4000), detected=at(5000)), [throttled]) is None


def test_what_was_there_before_the_remedy_is_not_explained_by_it() -> None:
    held = OpenIncident(id=IncidentId("inc_1"), opened=at(10), findings=(), held=(Held(subject=KEY, since=at(9_000)),))
    assert correlate(spike(), [held]) is None


def test_the_earliest_of_several_incidents_is_taken_whatever_their_order() -> None:
    one, two = incident(loop(), name="inc_1"), incident(loop(), name="inc_2")
    assert correlate(spike(), [two, one]) == correlate(spike(), [one, two]) == "inc_1"


def test_way_follows_the_arrows_only() -> None:
    edges = (*link(AGENT, KEY, MODEL), *link(OTHER_KEY, MODEL))
    assert way(edges, AGENT, MODEL) == link(AGENT, KEY, MODEL)
    assert way(edges, MODEL, AGENT) == link(AGENT, KEY, MODEL)
    assert way(edges, KEY, OTHER_KEY) is None
    assert way(edges, KEY, KEY) == ()
