"""Signals and a state that version 1 kept: a later version finds them in its inbox and its snapshots, and reads them.

A failure here means that a format was changed. Never edit or regenerate the files: add an optional field or a version.
"""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.testbed.entries import CALLER, T0
from tests.testbed.golden import SIGNALS, STATE, one_signal_of_each, signal_file

from watchkeeper.core.canonical import canonical
from watchkeeper.core.signals import SIGNAL, ErrorClass, Signal
from watchkeeper.core.subjects import EdgeSource, Subject, SubjectKind
from watchkeeper.core.topology import Topology
from watchkeeper.signals.state import SignalState, StateConfig


def test_every_shape_has_a_golden_signal() -> None:
    files = {signal_file(signal) for signal in one_signal_of_each()}
    assert len(files) == 4
    assert set(SIGNALS.glob("*.json")) == {*files, STATE}


@pytest.mark.parametrize("signal", one_signal_of_each(), ids=lambda signal: signal.type)
def test_a_golden_signal_reads_and_writes_back(signal: Signal) -> None:
    body = signal_file(signal).read_bytes()
    read = SIGNAL.validate_json(body)
    assert read == signal
    assert canonical(read.model_dump(mode="json", exclude_unset=True)) == body  # fields added later are not in it


def test_a_golden_state_is_restored() -> None:
    state = SignalState(StateConfig(), Topology())
    state.restore(STATE.read_bytes())
    since = T0 - timedelta(minutes=1)
    tally = state.tally(CALLER, since, T0 + timedelta(minutes=1))
    assert (tally.seen, tally.errors, tally.tokens, tally.cost_usd) == (1, ((ErrorClass.SERVER, 1.0),), 154, 0.0125)
    assert state.heard == T0
    assert [run.id for run in state.runs(since)] == ["run-1"]
    assert state.level("litellm_requests_total", CALLER, since) == 12.5
    (edge,) = state.edges_between(Subject(kind=SubjectKind.AGENT, id="planner"), CALLER)
    assert edge.known_from is EdgeSource.CALL_ID
