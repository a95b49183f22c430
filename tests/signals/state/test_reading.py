"""Service level indicators: own limits are nobody's fault, silence is never recovery."""

from __future__ import annotations

import pytest
from tests.testbed.traffic import at, call, span, subject

from watchkeeper.core.signals import ErrorClass, Signal, SpanOp
from watchkeeper.core.sli import Comparison, Measure, Sli, SliStatus, SubjectSet
from watchkeeper.core.subjects import SubjectKind
from watchkeeper.core.topology import Topology
from watchkeeper.signals.state import SignalState, StateConfig

KEY = subject(SubjectKind.KEY, "key-a")


def state_of(*signals: Signal) -> SignalState:
    state = SignalState(StateConfig(bucket_s=1, step_s=10, lateness_s=60), Topology())
    for signal in signals:
        state.apply(signal, at(60))
    return state


def sli(measure: Measure, threshold: float, **changes: object) -> Sli:
    terms: dict[str, object] = {
        "measure": measure, "subject": KEY, "op": Comparison.AT_MOST, "threshold": threshold, "window_s": 60,
    }  # fmt: skip
    return Sli.model_validate({**terms, **changes})


def test_rates_are_per_minute_of_the_window() -> None:
    state = state_of(*(call(f"c{n}", at(n), cost=0.1, tokens=10) for n in range(60)))
    assert state.read(sli(Measure.COST_USD_PER_MIN, 6.1), at(60)).value == pytest.approx(6.0)
    assert state.read(sli(Measure.TOKENS_PER_MIN, 1), at(60)).value == pytest.approx(600)
    assert state.read(sli(Measure.CALLS_PER_MIN, 1, window_s=30), at(60)).value == pytest.approx(60)
    assert state.read(sli(Measure.SERVED_PER_MIN, 1), at(60)).status is SliStatus.BREACHED


def test_a_throttled_key_that_still_tries_is_conclusive_and_silence_is_not() -> None:
    cost = sli(Measure.COST_USD_PER_MIN, 1.0, min_events=10)
    trying = state_of(*(call(f"c{n}", at(n), cost=0, error=ErrorClass.LIMITED) for n in range(60)))
    reading = trying.read(cost, at(60))
    assert (reading.status, reading.value, reading.events) == (SliStatus.MET, 0.0, 60)
    assert state_of().read(cost, at(60)).status is SliStatus.INCONCLUSIVE
    assert state_of().read(sli(Measure.COST_USD_PER_MIN, 1.0, min_events=0), at(60)).status is SliStatus.INCONCLUSIVE


def test_invariant_12_own_limits_are_no_fault_of_providers_but_count_for_callers() -> None:
    limited = [call(f"l{n}", at(n), error=ErrorClass.LIMITED) for n in range(30)]
    served = [call(f"s{n}", at(n)) for n in range(30)]
    state = state_of(*limited, *served)
    success = {"op": Comparison.AT_LEAST}
    for kind, name in (
        (SubjectKind.PROVIDER, "openai"),
        (SubjectKind.DEPLOYMENT, "dep-1"),
        (SubjectKind.MODEL, "chat"),
    ):
        who = subject(kind, name)
        reading = state.read(sli(Measure.SUCCESS_RATIO, 0.99, subject=who, **success), at(60))
        assert (reading.status, reading.value, reading.events) == (SliStatus.MET, 1.0, 30)
        assert state.read(sli(Measure.PROVIDER_ERROR_RATIO, 0.0, subject=who), at(60)).value == 0.0
    reading = state.read(sli(Measure.SUCCESS_RATIO, 0.99, **success), at(60))
    assert (reading.status, reading.value, reading.events) == (SliStatus.BREACHED, 0.5, 60)


def test_client_errors_count_for_nobody_and_provider_errors_for_everybody() -> None:
    state = state_of(
        *(call(f"b{n}", at(n), error=ErrorClass.CLIENT) for n in range(9)),
        *(call(f"e{n}", at(n), error=ErrorClass.TIMEOUT) for n in range(5)),
        *(call(f"s{n}", at(n)) for n in range(15)),
    )
    assert state.read(sli(Measure.SUCCESS_RATIO, 0), at(60)).value == 0.75
    assert state.read(sli(Measure.PROVIDER_ERROR_RATIO, 0), at(60)).value == 0.25


def test_others_are_all_subjects_of_the_kind_but_one() -> None:
    state = state_of(
        *(call(f"a{n}", at(n), error=ErrorClass.LIMITED) for n in range(10)),
        *(call(f"b{n}", at(n), key="key-b") for n in range(10)),
        *(call(f"c{n}", at(n), key="key-c", error=ErrorClass.LIMITED if n < 5 else None) for n in range(10)),
    )
    others = sli(Measure.SUCCESS_RATIO, 0.9, over=SubjectSet.OTHERS, op=Comparison.AT_LEAST)
    reading = state.read(others, at(60))
    assert (reading.value, reading.events, reading.status) == (0.75, 20, SliStatus.BREACHED)


def test_invariant_12_a_key_that_our_own_remedy_holds_is_no_bystander() -> None:
    limited = [call(f"l{n}", at(n), key="k2", error=ErrorClass.LIMITED) for n in range(30)]
    served = [call(f"s{n}", at(n), key="k3") for n in range(30)]
    state = state_of(*limited, *served)
    others = sli(Measure.SUCCESS_RATIO, 0.9, over=SubjectSet.OTHERS, op=Comparison.AT_LEAST)
    assert state.read(others, at(60)).status is SliStatus.BREACHED
    state.under_remedy(subject(SubjectKind.KEY, "k2"), at(5), None)
    reading = state.read(others, at(60))
    assert (reading.status, reading.value, reading.events) == (SliStatus.MET, 1.0, 30)


def test_too_few_calls_are_inconclusive_with_their_value_told() -> None:
    state = state_of(*(call(f"c{n}", at(n), error=ErrorClass.SERVER) for n in range(4)))
    reading = state.read(sli(Measure.PROVIDER_ERROR_RATIO, 0.1, min_events=5), at(60))
    assert (reading.status, reading.value) == (SliStatus.INCONCLUSIVE, 1.0)


def test_only_the_window_is_read() -> None:
    state = state_of(*(call(f"c{n}", at(n), error=ErrorClass.SERVER if n < 30 else None) for n in range(60)))
    assert state.read(sli(Measure.PROVIDER_ERROR_RATIO, 0, window_s=30), at(60)).value == 0.0
    assert state.read(sli(Measure.PROVIDER_ERROR_RATIO, 0, window_s=60), at(60)).value == 0.5


def test_latency_is_exact_to_a_tenth_and_counts_what_was_served() -> None:
    state = state_of(
        *(call(f"c{n}", at(n % 60), took_s=(n + 1) / 100) for n in range(100)),
        *(call(f"e{n}", at(n % 60), took_s=50, error=ErrorClass.TIMEOUT) for n in range(100)),
    )
    reading = state.read(sli(Measure.LATENCY_P95_S, 2.0), at(60))
    assert reading.value is not None
    assert 0.95 <= reading.value <= 0.95 * 1.1
    assert reading.events == 100


def test_readings_from_sampled_traces_say_so() -> None:
    state = state_of(span("s", at(50), SpanOp.MODEL, key="key-a", call_id="x", sampling=0.5))
    reading = state.read(sli(Measure.CALLS_PER_MIN, 10), at(60))
    assert reading.estimated
    assert reading.events == 1
    assert reading.value == pytest.approx(2.0)
