"""A level on a Prometheus query: `series:NAME` is read from the latest values that are not too old."""

from __future__ import annotations

import pytest
from tests.testbed.traffic import at, subject

from watchkeeper.core.signals import Sample
from watchkeeper.core.sli import Comparison, Sli, SliReading, SliStatus, SubjectSet
from watchkeeper.core.subjects import Subject, SubjectKind
from watchkeeper.core.topology import Topology
from watchkeeper.signals.state import MAX_POINTS, SignalState, StateConfig

SHOP, MAIL = subject(SubjectKind.SERVICE, "shop"), subject(SubjectKind.SERVICE, "mail")


def sample(
    when: float, value: float, who: Subject = SHOP, *, source: str = "prometheus/main", label: str = ""
) -> Sample:
    labels = (("zone", label),) if label else ()
    return Sample(
        id=f"{who}/{label}/{when}", source=source, at=at(when), name="errors", subject=who, value=value, labels=labels
    )


def reading(*samples: Sample, op: Comparison = Comparison.AT_MOST, least: int = 1, **changes: object) -> SliReading:
    state = SignalState(StateConfig(), Topology())
    for each in samples:
        state.apply(each, at(100))
    restored = SignalState(StateConfig(), Topology())
    restored.restore(state.snapshot())
    sli = Sli(measure="series:errors", subject=SHOP, op=op, threshold=0.2, window_s=60, min_events=least)
    read = restored.read(sli.model_copy(update=changes), at(100))
    assert read == state.read(sli.model_copy(update=changes), at(100))
    return read


def test_the_latest_value_decides_whatever_came_last() -> None:
    well = reading(sample(90, 0.1), sample(60, 0.9))
    assert (well.status, well.value, well.events) == (SliStatus.MET, 0.1, 1)
    assert reading(sample(60, 0.1), sample(90, 0.9)).status is SliStatus.BREACHED


def test_of_several_series_the_worst_counts() -> None:
    zones = (sample(90, 0.1, label="a"), sample(90, 0.9, label="b"))
    assert reading(*zones).value == 0.9
    assert reading(*zones, op=Comparison.AT_LEAST).value == 0.1


def test_no_value_or_an_old_one_is_inconclusive() -> None:
    for read in (reading(), reading(sample(39, 0.1)), reading(sample(90, 0.1), least=2)):
        assert read.status is SliStatus.INCONCLUSIVE


def test_others_are_read_without_the_subject_itself() -> None:
    read = reading(sample(90, 0.9), sample(90, 0.1, MAIL), over=SubjectSet.OTHERS)
    assert (read.status, read.value) == (SliStatus.MET, 0.1)


def test_what_anybody_may_send_is_no_indicator() -> None:
    assert reading(sample(90, 0.1, source="otlp")).status is SliStatus.INCONCLUSIVE


@pytest.mark.parametrize("backwards", [False, True])
def test_invariant_10_only_the_latest_values_of_a_series_are_kept(backwards: bool) -> None:
    state = SignalState(StateConfig(), Topology())
    for n in sorted(range(50), reverse=backwards):
        state.apply(sample(n, n), at(100))
        state.apply(sample(n, n), at(100))
    (kept,) = state.series("errors", SHOP, at(0))
    assert [value for _, value in kept] == list(range(50 - MAX_POINTS, 50))
