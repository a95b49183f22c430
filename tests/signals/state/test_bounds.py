"""Memory is bounded, and what is let go is counted (invariant 10)."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError
from tests.testbed.traffic import at, call, span, subject

from watchkeeper.core.errors import InputError
from watchkeeper.core.signals import Event, EventKind, Sample, SpanOp
from watchkeeper.core.subjects import Edge, EdgeSource, SubjectKind
from watchkeeper.core.topology import Topology
from watchkeeper.signals.state import SignalState, StateConfig

SMALL = StateConfig(
    bucket_s=10, step_s=20, lateness_s=60, horizon_s=300, history_s=600, max_subjects=50, max_calls=100, max_spans=100,
    max_runs=10, max_steps_per_run=20, max_edges=100, max_levels=10, max_changes=10,
)  # fmt: skip


def what_went(state: SignalState) -> dict[tuple[str, str], int]:
    return {(each.what, each.reason): each.count for each in state.evictions()}


def test_invariant_10_every_bound_holds_and_every_eviction_is_recorded() -> None:
    state = SignalState(SMALL, Topology())
    for n in range(1000):
        now = at(n / 50)
        state.apply(call(f"c{n}", now, key=f"key-{n}"), now)
        state.apply(span(f"s{n}", now, SpanOp.TOOL, run=f"run-{n}", digest="d"), now)
        state.apply(span(f"m{n}", now, SpanOp.MODEL, run=f"deep-{n}", parent=f"p{n}", tokens=1), now)
        who = subject(SubjectKind.DEPLOYMENT, f"d{n}")
        state.apply(Sample(id=f"v{n}", source="p", at=now, name="level", subject=who, value=1.0), now)
        state.apply(Event(id=f"e{n}", source="p", at=now, kind=EventKind.DEPLOY, name="v2", subject=who), now)
        state.under_remedy(who, now, None)
    listed = [subject(SubjectKind.DEPLOYMENT, f"d{n}") for n in range(200)]
    group = subject(SubjectKind.MODEL, "m")
    state.learn([Edge(source=group, target=each, known_from=EdgeSource.INVENTORY) for each in listed], "main")
    parts = json.loads(state.snapshot())
    assert len(parts["windows"]) <= 50
    assert len(parts["calls"]) <= 100
    assert len(parts["runs"]) <= 10
    assert [len(rows) <= 100 for rows in parts["traces"]] == [True, True]
    assert len(parts["links"][0]) <= 100
    assert all(len(links) <= 100 for _, links in parts["links"][1])
    assert [len(rows) <= 10 for rows in parts["levels"]] == [True, True, True]
    assert set(what_went(state)) == {
        ("subject", "max_subjects"), ("call", "max_calls"), ("run", "max_runs"), ("span", "max_spans"),
        ("edge", "max_edges"), ("series", "max_levels"), ("change", "max_changes"),
        ("remedy_mark", "max_changes"),
        ("enclosing_span", "max_spans"),
    }  # fmt: skip


def test_invariant_10_metrics_that_anybody_may_send_do_not_push_out_an_indicator() -> None:
    state = SignalState(SMALL, Topology())
    who = subject(SubjectKind.SERVICE, "shop")
    state.apply(Sample(id="p", source="prometheus/main", at=at(0), name="errors", subject=who, value=0.5), at(0))
    for n in range(100):
        labels = (("instance", f"i{n}"),)
        sample = Sample(id=f"o{n}", source="otlp", at=at(n / 10), name="duration", subject=who, value=9, labels=labels)
        state.apply(sample, at(n / 10))
    assert state.level("errors", who, at(0)) == 0.5
    assert state.level("duration", who, at(0)) is None


def test_a_run_without_end_is_added_up_and_its_numbers_stay() -> None:
    state = SignalState(SMALL, Topology())
    for n in range(300):
        state.apply(span(f"t{n}", at(n), SpanOp.TOOL, tool="x", digest="same"), at(n))
        state.apply(span(f"m{n}", at(n), SpanOp.MODEL, call_id=f"c{n}"), at(n))
    (run,) = state.runs(at(0))
    assert (run.iterations, run.repeated, run.tool_calls) == (300, 300, 300)
    assert not run.terminated
    assert len(json.loads(state.snapshot())["runs"][0][1]) <= 20


def test_a_span_that_may_have_been_added_up_already_is_refused_with_a_reason() -> None:
    state = SignalState(SMALL, Topology())
    for n in range(30):
        state.apply(span(f"t{n}", at(n), SpanOp.TOOL, digest="same"), at(n))
    state.evictions()
    state.apply(span("t0", at(0), SpanOp.TOOL, digest="same"), at(31))
    assert what_went(state) == {("span", "run_steps_added_up"): 1}
    assert state.runs(at(0))[0].repeated == 30


def test_time_alone_forgets_runs_calls_and_old_steps() -> None:
    state = SignalState(SMALL, Topology())
    state.apply(call("c", at(5)), at(5))
    state.apply(span("t", at(5), SpanOp.TOOL), at(5))
    state.tick(at(400))
    key = subject(SubjectKind.KEY, "key-a")
    parts = json.loads(state.snapshot())
    assert (parts["calls"], parts["runs"]) == ([], [])
    assert [step.calls for step in state.steps(key)] == [1.0]
    state.tick(at(1000))
    assert state.steps(key) == ()
    assert state.subjects(SubjectKind.KEY) == ()


def test_a_broken_or_foreign_snapshot_is_refused_with_its_place() -> None:
    state = SignalState(SMALL, Topology())
    with pytest.raises(InputError) as broken:
        state.restore(b'{"windows": 3}')
    assert broken.value.place
    other = SignalState(SMALL.model_copy(update={"bucket_s": 5.0}), Topology())
    with pytest.raises(InputError, match="other buckets"):
        state.restore(other.snapshot())


@pytest.mark.parametrize(
    "wrong", [{"step_s": 15.0}, {"horizon_s": 100.0}, {"history_s": 500.0}, {"bucket_s": 0.1, "step_s": 0.1}]
)
def test_a_configuration_that_cannot_hold_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        StateConfig.model_validate(wrong)
