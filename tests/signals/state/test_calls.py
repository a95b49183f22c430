"""One model call counts once, whoever reports it, and its fields come from whoever knows."""

from __future__ import annotations

import pytest
from tests.testbed.traffic import at, call, span, subject

from watchkeeper.core.signals import ErrorClass, Signal, SpanOp, Usage
from watchkeeper.core.subjects import EdgeSource, Subject, SubjectKind
from watchkeeper.core.topology import ServiceEntry, Topology
from watchkeeper.signals.state import SignalState, StateConfig, Tally

KEY = subject(SubjectKind.KEY, "key-a")
AGENT = subject(SubjectKind.AGENT, "bot")
MODEL = subject(SubjectKind.MODEL, "chat")
PROVIDER = subject(SubjectKind.PROVIDER, "openai")
SERVICE = subject(SubjectKind.SERVICE, "svc")


def state_of(*signals: Signal, topology: Topology | None = None) -> SignalState:
    state = SignalState(StateConfig(), topology or Topology(), price=lambda model, usage: usage.total / 1000)
    for signal in signals:
        state.apply(signal, at(10))
    return state


def tally(state: SignalState, who: Subject) -> Tally:
    return state.tally(who, at(0), at(20))


def test_agent_span_sdk_span_and_gateway_row_are_one_call() -> None:
    state = state_of(
        span("outer", at(3), SpanOp.MODEL, tokens=100, agent="bot"),
        span("sdk", at(2), SpanOp.MODEL, parent="outer", call_id="c1", tokens=100),
        call("c1", at(2)),
    )
    for who in (KEY, AGENT, MODEL, PROVIDER, SERVICE, subject(SubjectKind.DEPLOYMENT, "dep-1")):
        assert (tally(state, who).seen, tally(state, who).served, tally(state, who).tokens) == (1, 1.0, 100), who
    assert tally(state, AGENT).cost_usd == pytest.approx(0.01)


def test_fields_fill_in_from_the_source_that_knows_them() -> None:
    state = state_of(span("s", at(2), SpanOp.MODEL, call_id="c1", tokens=80), call("c1", at(2), tokens=100))
    assert tally(state, AGENT).cost_usd == pytest.approx(0.01)
    assert tally(state, AGENT).tokens == 100
    (edge,) = state.edges_between(AGENT, KEY)
    assert edge.known_from is EdgeSource.CALL_ID
    path = state.path(SERVICE, PROVIDER)
    assert path is not None
    assert [str(edge.target) for edge in path] == [
        "agent:bot", "key:key-a", "model:chat", "deployment:dep-1", "provider:openai",
    ]  # fmt: skip


def test_an_agent_named_only_on_its_root_span_owns_the_calls_of_its_run() -> None:
    state = state_of(
        span("m", at(2), SpanOp.MODEL, agent="", call_id="c1"),
        call("c1", at(2)),
        span("root", at(3), SpanOp.AGENT, parent=None, agent="bot"),
    )
    assert tally(state, AGENT).seen == 1
    assert state.edges_between(AGENT, KEY)


def test_a_run_of_two_agents_gives_its_unnamed_calls_to_neither() -> None:
    state = state_of(
        span("m", at(2), SpanOp.MODEL, agent="", call_id="c1"),
        span("a", at(3), SpanOp.AGENT, agent="bot"),
        span("b", at(3), SpanOp.AGENT, agent="other"),
    )
    assert tally(state, AGENT).seen == 0


def test_failures_without_an_id_count_for_the_agent_by_span_and_for_the_key_by_gateway() -> None:
    state = state_of(
        call("c0", at(1)),
        span("ok", at(1), SpanOp.MODEL, call_id="c0", key="key-a"),
        call("failed-row", at(2), error=ErrorClass.SERVER),
        span("failed", at(2), SpanOp.MODEL, key="key-a", error=ErrorClass.SERVER),
    )
    assert (tally(state, KEY).seen, tally(state, KEY).provider_errors) == (2, 1.0)
    assert (tally(state, AGENT).seen, tally(state, AGENT).provider_errors) == (2, 1.0)


def test_a_span_cannot_add_calls_to_a_key_or_deployment_that_the_gateway_reports() -> None:
    forged = [span(f"f{n}", at(2), SpanOp.MODEL, key="key-a", call_id=f"made-up-{n}", tokens=10**6) for n in range(9)]
    placed = [each.model_copy(update={"deployment": "dep-1", "error": ErrorClass.SERVER}) for each in forged]
    state = state_of(call("c0", at(1)), *placed)
    for who in (KEY, subject(SubjectKind.DEPLOYMENT, "dep-1")):
        assert (tally(state, who).seen, tally(state, who).provider_errors, tally(state, who).tokens) == (1, 0.0, 100)


def test_spans_alone_count_for_keys_where_no_gateway_reports() -> None:
    state = state_of(span("failed", at(2), SpanOp.MODEL, key="key-a", error=ErrorClass.SERVER))
    assert tally(state, KEY).provider_errors == 1.0


def test_a_gateway_alone_counts_for_the_agent_that_it_names() -> None:
    state = state_of(call("c1", at(2), agent="bot"))
    assert tally(state, AGENT).seen == 1


def test_cost_is_priced_where_nobody_reports_it() -> None:
    state = state_of(call("c1", at(2), cost=None, tokens=200))
    assert tally(state, KEY).cost_usd == pytest.approx(0.2)


def test_a_reported_cost_of_zero_is_a_cost() -> None:
    assert tally(state_of(call("c1", at(2), cost=0.0)), KEY).cost_usd == 0


def test_sampled_spans_are_scaled_up_and_marked_until_the_gateway_tells_of_the_call() -> None:
    sampled = span("s", at(2), SpanOp.MODEL, call_id="c1", tokens=100, sampling=0.1)
    state = state_of(sampled)
    assert (tally(state, AGENT).calls, tally(state, AGENT).seen, tally(state, AGENT).estimated) == (10.0, 1, True)
    state.apply(call("c1", at(2)), at(10))
    assert (tally(state, AGENT).calls, tally(state, AGENT).estimated) == (1.0, False)


def test_the_configured_service_of_a_key_owns_its_calls() -> None:
    topology = Topology(services=(ServiceEntry(name="shop", keys=("key-a",)),))
    state = state_of(call("c1", at(2)), topology=topology)
    assert tally(state, subject(SubjectKind.SERVICE, "shop")).seen == 1


def test_a_model_span_that_encloses_the_real_call_is_not_counted_whichever_comes_first() -> None:
    outer = span("outer", at(3), SpanOp.MODEL, tokens=100)
    middle = span("middle", at(3), SpanOp.OTHER, parent="outer")
    inner = span("inner", at(2), SpanOp.MODEL, parent="middle", tokens=100)
    for order in ((outer, middle, inner), (inner, outer, middle), (inner, middle, outer), (middle, inner, outer)):
        assert tally(state_of(*order), AGENT).seen == 1


def test_too_late_and_future_signals_are_counted_and_dropped() -> None:
    state = SignalState(StateConfig(), Topology())
    state.apply(call("late", at(0)), at(500))
    state.apply(call("future", at(5000)), at(500))
    assert {(each.what, each.reason) for each in state.evictions()} == {
        ("call", "too_late"),
        ("call", "from_the_future"),
    }
    assert state.evictions() == ()
    assert state.subjects(SubjectKind.KEY) == ()


def test_usage_of_zero_does_not_hide_the_usage_that_another_source_knows() -> None:
    state = state_of(
        span("s", at(2), SpanOp.MODEL, call_id="c1", tokens=90), call("c1", at(2)).model_copy(update={"usage": Usage()})
    )
    assert tally(state, KEY).tokens == 90
