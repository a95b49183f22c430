"""Who acts through whom, whose it is, and what our remedies touched."""

from __future__ import annotations

from tests.testbed.traffic import at, call, span, subject

from watchkeeper.core.signals import Event, EventKind, Sample, SpanOp
from watchkeeper.core.subjects import Edge, EdgeSource, Scope, SubjectKind
from watchkeeper.core.topology import ServiceEntry, Topology
from watchkeeper.signals.state import SignalState, StateConfig

KEY, OTHER = subject(SubjectKind.KEY, "key-a"), subject(SubjectKind.KEY, "key-b")
AGENT = subject(SubjectKind.AGENT, "bot")
MODEL = subject(SubjectKind.MODEL, "chat")
DEPLOYMENT = subject(SubjectKind.DEPLOYMENT, "dep-1")
SPARE = subject(SubjectKind.DEPLOYMENT, "dep-2")


def state(topology: Topology | None = None) -> SignalState:
    return SignalState(StateConfig(), topology or Topology())


def test_the_strongest_source_of_a_link_is_told() -> None:
    topology = Topology(services=(ServiceEntry(name="svc", agents=("bot",)),))
    known = state(topology)
    known.apply(span("m", at(1), SpanOp.MODEL, call_id="c1"), at(2))
    known.apply(call("c1", at(1)), at(2))
    (edge,) = known.edges_between(subject(SubjectKind.SERVICE, "svc"), AGENT)
    assert edge.known_from is EdgeSource.CONFIG
    assert known.edges_between(AGENT, KEY)[0].known_from is EdgeSource.CALL_ID


def test_an_inventory_links_what_no_call_has_used_yet() -> None:
    known = state()
    assert known.path(MODEL, SPARE) is None
    known.learn([Edge(source=MODEL, target=SPARE, known_from=EdgeSource.INVENTORY)], "main")
    path = known.path(MODEL, SPARE)
    assert path is not None
    assert [edge.known_from for edge in path] == [EdgeSource.INVENTORY]
    known.tick(at(100_000))
    assert known.path(SPARE, MODEL) == path


def test_a_deployment_that_an_inventory_no_longer_lists_is_gone_and_a_restart_forgets_none() -> None:
    known = state()
    both = [Edge(source=MODEL, target=each, known_from=EdgeSource.INVENTORY) for each in (DEPLOYMENT, SPARE)]
    known.learn(both, "main")
    known.learn(both[:1], "other")
    again = state()
    again.restore(known.snapshot())
    again.learn(both[:1], "main")
    assert again.path(MODEL, SPARE) is None
    again.learn([], "main")
    assert again.path(MODEL, DEPLOYMENT)
    again.learn([], "other")
    assert again.path(MODEL, DEPLOYMENT) is None


def test_how_spans_of_a_known_group_count_is_the_same_after_a_restart() -> None:
    known = state()
    known.learn([Edge(source=MODEL, target=DEPLOYMENT, known_from=EdgeSource.INVENTORY)], "main")
    again = state()
    again.restore(known.snapshot())
    claimed = span("m", at(1), SpanOp.MODEL).model_copy(update={"provider": "vllm"})
    for each in (known, again):
        each.apply(claimed, at(2))
    assert again.subjects(SubjectKind.PROVIDER) == known.subjects(SubjectKind.PROVIDER) == ()


def test_what_a_span_claims_proves_nothing_unless_configuration_agrees() -> None:
    services = (ServiceEntry(name="svc", agents=("bot",), keys=("key-a",)), ServiceEntry(name="b", keys=("key-b",)))
    known = state(Topology(services=services))
    for name, agent, key in (("m1", "bot", "key-a"), ("m2", "evil", "key-a"), ("m3", "bot", "key-b")):
        known.apply(span(name, at(1), SpanOp.MODEL, agent=agent, key=key), at(2))
    told = {
        (agent, key): known.edges_between(subject(SubjectKind.AGENT, agent), subject(SubjectKind.KEY, key))[0]
        for agent, key in (("bot", "key-a"), ("evil", "key-a"), ("bot", "key-b"))
    }
    assert {each: edge.known_from for each, edge in told.items()} == {
        ("bot", "key-a"): EdgeSource.CONFIG, ("evil", "key-a"): EdgeSource.SPAN, ("bot", "key-b"): EdgeSource.SPAN,
    }  # fmt: skip
    assert [edge.known_from.proves for edge in told.values()] == [True, False, False]


def test_a_call_id_joins_nothing_but_what_the_gateway_names() -> None:
    known = state()
    known.apply(span("m", at(1), SpanOp.MODEL, key="key-a", call_id="c1"), at(2))
    known.apply(call("c1", at(1), key="", model=""), at(2))
    assert known.edges_between(AGENT, KEY)[0].known_from is EdgeSource.SPAN
    known.apply(span("n", at(1), SpanOp.MODEL, agent="bot", key="key-b", call_id="c2"), at(2))
    known.apply(call("c2", at(1)), at(2))
    assert known.edges_between(AGENT, KEY)[0].known_from is EdgeSource.CALL_ID
    assert known.edges_between(AGENT, OTHER) == ()


def test_observed_links_are_forgotten_with_the_history() -> None:
    known = state()
    known.apply(call("c1", at(1)), at(2))
    assert known.path(KEY, DEPLOYMENT)
    known.tick(at(20_000))
    assert known.path(KEY, DEPLOYMENT) is None


def test_scope_is_configured_else_observed_else_unassigned() -> None:
    topology = Topology(services=(ServiceEntry(name="shop", environment="prod", keys=("key-a",), models=("chat",)),))
    known = state(topology)
    known.apply(call("c1", at(1)), at(2))
    known.apply(call("c2", at(1), key="key-b", model="other", deployment="dep-9", service="mail"), at(2))
    assert known.scope_of(KEY) == Scope(environment="prod", service="shop")
    assert known.scope_of(DEPLOYMENT) == Scope(environment="prod", service="shop")
    assert known.scope_of(OTHER) == Scope(environment="production", service="mail")
    assert known.scope_of(subject(SubjectKind.DEPLOYMENT, "dep-9")).service == "mail"
    assert known.scope_of(subject(SubjectKind.KEY, "nobody")).service == "unassigned"


def test_what_several_services_share_belongs_to_none_of_them() -> None:
    known = state()
    known.apply(call("c1", at(1), service="mail"), at(2))
    known.apply(call("c2", at(1), key="key-b", service="shop"), at(2))
    assert known.scope_of(DEPLOYMENT).service == "unassigned"


def test_invariant_12_a_remedy_marks_its_subject_and_what_stands_in_line_with_it() -> None:
    known = state()
    known.apply(span("m", at(1), SpanOp.MODEL, call_id="c1"), at(2))
    known.apply(call("c1", at(1)), at(2))
    known.apply(call("c2", at(1), key="key-b"), at(2))
    known.under_remedy(KEY, at(10), None)
    known.under_remedy(KEY, at(10), at(20))
    for touched in (KEY, AGENT, MODEL, DEPLOYMENT):
        assert known.remedied(touched) == ((at(10), at(20)),)
    assert known.remedied(OTHER) == ()


def test_invariant_12_our_own_effects_are_changes() -> None:
    known = state()
    known.apply(
        Event(id="e", source="watchkeeper", at=at(5), kind=EventKind.OWN_EFFECT, name="throttle", subject=KEY), at(5)
    )
    assert known.changes(at(0), at(10)) == ((at(5), EventKind.OWN_EFFECT, "throttle", KEY),)
    assert known.changes(at(6), at(10)) == ()


def test_the_latest_word_of_a_series_and_of_an_alert_counts_whatever_came_last() -> None:
    known = state()
    for number in (2, 3, 1):
        known.apply(
            Sample(id=f"s{number}", source="p", at=at(number), name="st", subject=DEPLOYMENT, value=number), at(10)
        )
        known.apply(
            Event(id=f"e{number}", source="am", at=at(number), kind=EventKind.ALERT, name="down", subject=DEPLOYMENT,
                  active=number != 3), at(10),
        )  # fmt: skip
    assert known.level("st", DEPLOYMENT, at(0)) == 3
    assert known.level("st", DEPLOYMENT, at(4)) is None
    assert known.alerts(DEPLOYMENT) == ()
