"""Any order and any repetition of the same signals gives the same state, byte for byte."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.testbed.traffic import at, call, span

from watchkeeper.agents.detector.config import DetectorConfig, RunawayLoopConfig
from watchkeeper.agents.detector.evaluate import Detectors
from watchkeeper.core.signals import ErrorClass, Event, EventKind, Sample, Signal, SpanOp
from watchkeeper.core.subjects import Subject, SubjectKind
from watchkeeper.core.topology import ServiceEntry, Topology
from watchkeeper.signals.state import SignalState, StateConfig

CONFIG = StateConfig(bucket_s=5, step_s=10, lateness_s=60)
TOPOLOGY = Topology(services=(ServiceEntry(name="svc", keys=("key-a",)),))
DETECTORS = Detectors(DetectorConfig(runaway_loop=RunawayLoopConfig(max_repeats=3, max_iterations=4)))
SPAN = 50
NOW = at(SPAN + 5)

names = st.sampled_from(["", "a", "b"])
errors = st.sampled_from([None, None, ErrorClass.SERVER, ErrorClass.LIMITED])


@st.composite
def reports(draw: st.DrawFn) -> list[Signal]:
    """The reports of one turn of a run, from any of the sources that may tell of it, with pieces missing."""
    number = draw(st.integers(0, 30))
    second = draw(st.floats(0, SPAN, allow_nan=False))
    run, trace = draw(st.sampled_from(["r1", "r2"])), draw(st.sampled_from(["t1", "t2"]))
    agent, key = draw(names), draw(names)
    error = draw(errors)
    call_id = draw(st.sampled_from(["", f"c{number}"]))
    tokens = draw(st.sampled_from([None, 50]))
    sampling = draw(st.sampled_from([1.0, 0.3]))
    parent = draw(st.sampled_from(["root", f"outer{number}"]))
    every: list[Signal] = [
        span(f"m{number}", at(second), SpanOp.MODEL, run=run, trace=trace, parent=parent, agent=agent, key=key,
             call_id=call_id, tokens=tokens, error=error, sampling=sampling),
        span(f"outer{number}", at(second + 1), SpanOp.MODEL, run=run, trace=trace, agent=agent, tokens=60),
        span(f"m{number}", at(second), SpanOp.MODEL, run=run, trace=trace, parent=parent, agent=agent,
             call_id=call_id, tokens=tokens, source="sdk"),
        call(f"c{number}", at(second + 0.5), key=draw(names), deployment=draw(names), error=error,
             cost=draw(st.sampled_from([None, 0.25, 0.1]))),
        span(f"x{number}", at(second), SpanOp.TOOL, run=run, trace=trace, agent=agent, tool="t", digest="same"),
        span("root", at(SPAN), SpanOp.AGENT, run=run, trace=trace, parent=None, agent=draw(names), key=draw(names)),
        Sample(id=f"s{number}", source="prom", at=at(second), name="level", value=number / 7,
               subject=Subject(kind=SubjectKind.DEPLOYMENT, id="a")),
        Event(id=f"e{number}", source="am", at=at(second), kind=EventKind.ALERT, name="down", active=number % 2 == 0,
              subject=Subject(kind=SubjectKind.DEPLOYMENT, id="a")),
    ]  # fmt: skip
    return draw(st.lists(st.sampled_from(every), min_size=1, max_size=len(every)))


def unique(signals: list[Signal]) -> list[Signal]:
    """(source, id) names one signal: of several contents under one name the first stands."""
    seen: dict[tuple[str, str], Signal] = {}
    for signal in signals:
        seen.setdefault((signal.source, signal.id), signal)
    return list(seen.values())


def state_of(signals: list[Signal]) -> SignalState:
    state = SignalState(CONFIG, TOPOLOGY, price=lambda model, usage: usage.total * 0.001)
    for signal in signals:
        state.apply(signal, NOW)
    return state


@settings(max_examples=150, deadline=None)
@given(turns=st.lists(reports(), min_size=1, max_size=10), data=st.data())
def test_order_and_repetition_change_nothing(turns: list[list[Signal]], data: st.DataObject) -> None:
    signals = unique([signal for turn in turns for signal in turn])
    other = data.draw(st.permutations(signals + data.draw(st.lists(st.sampled_from(signals), max_size=20))))
    one, two = state_of(signals), state_of(other)
    assert one.snapshot() == two.snapshot()
    assert DETECTORS.evaluate(one, NOW) == DETECTORS.evaluate(two, NOW)
    assert one.runs(at(0)) == two.runs(at(0))
    assert one.evictions() == two.evictions() == ()


@settings(max_examples=60, deadline=None)
@given(turns=st.lists(reports(), min_size=1, max_size=8), cut=st.integers(0, 60))
def test_a_restored_snapshot_goes_on_as_if_nothing_had_happened(turns: list[list[Signal]], cut: int) -> None:
    signals = unique([signal for turn in turns for signal in turn])
    whole = state_of(signals)
    first = state_of(signals[:cut])
    second = SignalState(CONFIG, TOPOLOGY, price=lambda model, usage: usage.total * 0.001)
    second.restore(first.snapshot())
    for signal in signals[cut:]:
        second.apply(signal, NOW)
    assert second.snapshot() == whole.snapshot()


def test_late_signals_within_the_lateness_count_as_if_they_had_been_on_time() -> None:
    signals: list[Signal] = [call(f"c{n}", at(n)) for n in range(50)]
    prompt, late = SignalState(CONFIG, TOPOLOGY), SignalState(CONFIG, TOPOLOGY)
    for signal in signals:
        prompt.apply(signal, signal.at)
    for signal in reversed(signals):
        late.apply(signal, signal.at + timedelta(seconds=59))
    for state in (prompt, late):
        state.tick(at(500))
    key = Subject(kind=SubjectKind.KEY, id="key-a")
    assert prompt.tally(key, at(0), at(60)) == late.tally(key, at(0), at(60))
    assert prompt.steps(key) == late.steps(key)
