"""Reads a service level indicator from a tally. Too little to tell is an answer of its own, never recovery.

A call refused by a limit counts as not served for whoever made it (key, agent, service); for whoever would have served
it (model, deployment, provider, gateway) it did not happen (invariant 12). Faults of the caller (`client`) count for
nobody.
"""

from __future__ import annotations

from datetime import datetime

from watchkeeper.core.signals import ErrorClass
from watchkeeper.core.sli import Comparison, Measure, Sli, SliReading, SliStatus
from watchkeeper.core.subjects import SubjectKind
from watchkeeper.signals.state.tally import Tally

CALLERS = frozenset({SubjectKind.KEY, SubjectKind.AGENT, SubjectKind.SERVICE, SubjectKind.TEAM, SubjectKind.RUN})


def judge_series(sli: Sli, values: list[float], now: datetime) -> SliReading:
    """By the worst of the latest values, one of each series that was heard of in the window."""
    value = (max if sli.op is Comparison.AT_MOST else min)(values) if values else None
    return _reading(sli, value, len(values), now, estimated=False)


def judge(sli: Sli, tally: Tally, elapsed_s: float, now: datetime) -> SliReading:
    """`elapsed_s` is the time that the tally covers. At least one call is needed even if `min_events` is 0."""
    value, events = _measure(sli, tally, elapsed_s / 60)
    return _reading(sli, value, events, now, estimated=tally.estimated)


def _reading(sli: Sli, value: float | None, events: int, now: datetime, *, estimated: bool) -> SliReading:
    status = SliStatus.INCONCLUSIVE
    if value is not None and events >= max(1, sli.min_events):
        met = value <= sli.threshold if sli.op is Comparison.AT_MOST else value >= sli.threshold
        status = SliStatus.MET if met else SliStatus.BREACHED
    return SliReading(sli=sli, at=now, status=status, value=value, events=events, estimated=estimated)


def _measure(sli: Sli, tally: Tally, minutes: float) -> tuple[float | None, int]:
    """The value, and how many reported calls it rests on: for rates all that were tried, refused ones too."""
    match sli.measure:
        case Measure.CALLS_PER_MIN:
            return tally.calls / minutes, tally.seen
        case Measure.SERVED_PER_MIN:
            return tally.served / minutes, tally.seen
        case Measure.TOKENS_PER_MIN:
            return tally.tokens / minutes, tally.seen
        case Measure.COST_USD_PER_MIN:
            return tally.cost_usd / minutes, tally.seen
        case Measure.PROVIDER_ERROR_RATIO:
            return tally.provider_error_ratio, tally.judged
        case Measure.SUCCESS_RATIO:
            return _success(sli.subject.kind, tally)
        case Measure.LATENCY_P95_S:
            return tally.latency_s(0.95), sum(count for _, count in tally.latency) // 1000
        case series:
            raise ValueError(f"{series} is not counted from calls")


def _success(kind: SubjectKind, tally: Tally) -> tuple[float | None, int]:
    tried, events = tally.served + tally.provider_errors, tally.judged
    if kind in CALLERS:
        refusals = (ErrorClass.LIMITED, ErrorClass.AUTH, ErrorClass.OTHER)
        tried += sum(tally.error(refusal) for refusal in refusals)
        events += tally.refused
    return (tally.served / tried if tried > 0 else None), events
