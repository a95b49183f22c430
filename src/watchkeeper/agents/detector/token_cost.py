"""Token-cost spike: a key, model or service that costs several times its own normal, step after step.

One finding per cause: the keys that spike; a model or a service only where its excess is not that of such keys.
It sees rates, not their worth: a launch that triples traffic is a spike to it, and the diagnosis and policy decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import takewhile
from math import fsum
from typing import NamedTuple

from watchkeeper.agents.detector.baseline import Baseline, Line, learn
from watchkeeper.agents.detector.basis import CostCase, Spike
from watchkeeper.agents.detector.config import TokenCostConfig
from watchkeeper.agents.detector.drafting import Detected, Sighting, detect, draw
from watchkeeper.agents.detector.facts import Notes, Reads
from watchkeeper.agents.manifest import COST_SPIKE
from watchkeeper.core.findings import Attribution, FailureMode, Finding, Observation, Severity, Sign
from watchkeeper.core.subjects import Subject, SubjectKind
from watchkeeper.signals.state import SignalState

_CAUSES = (SubjectKind.KEY, SubjectKind.MODEL, SubjectKind.SERVICE)
_RELATED = (SubjectKind.MODEL, SubjectKind.SERVICE, SubjectKind.AGENT, SubjectKind.KEY)
_EXPLAINED = 0.5
"""Share of a model's or service's excess that must be its keys' to be theirs alone."""
USD, TOKENS = "usd/min", "tokens/min"


class Rate(NamedTuple):
    """A subject's live rate against its baseline. `over` are the starts of the recent steps over the line."""

    subject: Subject
    unit: str
    live: float
    """The mean over `during`."""
    during: tuple[datetime, ...]
    """The starts of the steps over the line; where there are none, of the latest whole ones."""
    baseline: Baseline
    limit: float | None
    """None: too little history, and no ceiling."""
    over: tuple[datetime, ...]
    onset: datetime
    latest: float
    """The highest of the latest whole steps."""
    clear: float | None
    """Under this it is back to normal; None where it is not known what normal is."""
    estimated: bool

    @property
    def excess(self) -> float:
        return max(0.0, self.live - self.baseline.median)


def measure(
    state: Reads, subject: Subject, config: TokenCostConfig, now: datetime, during: tuple[datetime, ...] = ()
) -> Rate | None:
    """None for a subject with no traffic in memory. `during`: the steps to look at instead of its own."""
    steps = state.steps(subject)
    if not steps:
        return None
    step = timedelta(seconds=state.config.step_s)
    minutes = state.config.step_s / 60
    priced = any(each.cost_usd for each in steps)
    unit, floor = (USD, config.floor_usd_per_min) if priced else (TOKENS, config.floor_tokens_per_min)
    rates = {each.start: (each.cost_usd if priced else each.tokens) / minutes for each in steps}
    current = max((start for start in rates if start <= now), default=now)
    running = _step_at(now, current, step)
    recent = [running - step * back for back in range(config.of)]
    line = Line(config.ratio, config.deviations, floor)
    remedies = state.remedied(subject)
    earlier = ((rate, _remedied(start, step, remedies)) for start, rate in rates.items() if start < recent[-1])
    baseline = learn(earlier, line, config.min_history, config.baseline_steps)
    ceiling = config.ceiling_usd_per_min if priced else None
    limits = [baseline.limit(line)] if baseline.known >= config.min_history else []
    limit = min([*limits, *([] if ceiling is None else [ceiling])], default=None)
    over = tuple(start for start in recent if limit is not None and rates.get(start, 0.0) > limit)
    whole = tuple(running - step * back for back in range(1, config.needed + 1))
    during = during or tuple(start for start in over if start != running) or over or whole
    backwards = sorted((start for start in rates if start <= running), reverse=True)
    run = list(takewhile(lambda start: start == running or rates[start] > (limit or 0.0), backwards)) if over else []
    return Rate(
        subject=subject,
        unit=unit,
        live=fsum(rates.get(start, 0.0) for start in during) / len(during),
        during=during,
        baseline=baseline,
        limit=limit,
        over=over,
        onset=min([*over, *run], default=now),
        latest=max(rates.get(start, 0.0) for start in whole),
        clear=_clear(baseline, limits, config, floor),
        estimated=any(each.estimated for each in steps if each.start in recent),
    )


def _clear(baseline: Baseline, limits: list[float], config: TokenCostConfig, floor: float) -> float | None:
    return max(baseline.median * config.clear_ratio, baseline.median + floor / 2) if limits else None


def _step_at(now: datetime, known: datetime, step: timedelta) -> datetime:
    """The start of the step that `now` lies in, on the grid of a known step."""
    return known + step * ((now - known) // step)


def _remedied(start: datetime, step: timedelta, remedies: Iterable[tuple[datetime, datetime]]) -> bool:
    return any(since < start + step and start < until for since, until in remedies)


def evaluate(state: SignalState, config: TokenCostConfig, now: datetime) -> tuple[Detected, ...]:
    return detect(judge, _cases(state, config, now), config, state, now)


def _cases(state: SignalState, config: TokenCostConfig, now: datetime) -> list[CostCase]:
    spikes: list[Spike] = []
    for kind in _CAUSES:
        awake = [subject for subject in state.subjects(kind) if _awake(state, subject, config, now)]
        rates = [rate for subject in awake if (rate := measure(state, subject, config, now))]
        own = [rate for rate in rates if _spikes(rate, spikes, state, config)]
        spikes += [Spike(subject=rate.subject, unit=rate.unit, excess=rate.excess) for rate in own]
    return [CostCase(subject=each.subject, spikes=tuple(spikes)) for each in spikes]


def judge(notes: Notes, config: TokenCostConfig, now: datetime, case: CostCase) -> Finding | None:
    rate = measure(notes, case.subject, config, now)
    first = _CAUSES.index(case.subject.kind)
    causes = [each for each in case.spikes if _CAUSES.index(each.subject.kind) < first]
    if rate is None or not _spikes(rate, causes, notes, config):
        return None
    return draw(_sighting(rate, case.spikes, notes, config, now), COST_SPIKE, notes, now)


def _spikes(rate: Rate, causes: Sequence[Spike], state: Reads, config: TokenCostConfig) -> bool:
    return len(rate.over) >= config.needed and not _explained(rate, causes, state)


def _awake(state: SignalState, subject: Subject, config: TokenCostConfig, now: datetime) -> bool:
    """Whether the subject can be over any line at all: cheap to know, and for most subjects the end of it."""
    recent = state.tally(subject, now - timedelta(seconds=state.config.step_s * (config.of + 1)), now)
    minutes = state.config.step_s / 60
    ceiling = config.ceiling_usd_per_min or config.floor_usd_per_min
    usd, tokens = recent.cost_usd / minutes, recent.tokens / minutes
    return usd > min(config.floor_usd_per_min, ceiling) or tokens > config.floor_tokens_per_min


def _explained(rate: Rate, causes: Sequence[Spike], state: Reads) -> bool:
    linked = [cause for cause in causes if state.path(cause.subject, rate.subject) is not None]
    if any(cause.unit != rate.unit for cause in linked):
        return True
    return bool(linked) and fsum(cause.excess for cause in linked) >= _EXPLAINED * rate.excess


def _sighting(spike: Rate, spikes: Sequence[Spike], notes: Notes, config: TokenCostConfig, now: datetime) -> Sighting:
    priced = spike.unit == USD
    expected = spike.baseline.median
    if spike.baseline.known < config.min_history and spike.limit is not None:
        expected = spike.limit
    critical = priced and spike.excess >= config.critical_usd_per_min
    return Sighting(
        mode=FailureMode.COST_SPIKE,
        subject=spike.subject,
        severity=Severity.CRITICAL if critical else Severity.WARNING,
        onset=spike.onset,
        observations=(
            Observation(sign=Sign.RATE_OVER_BASELINE, observed=spike.live, expected=expected, unit=spike.unit),
        ),
        attribution=_attribution(spike, spikes, notes, config, now),
        estimated=spike.estimated,
    )


def _attribution(
    spike: Rate, spikes: Sequence[Spike], notes: Notes, config: TokenCostConfig, now: datetime
) -> tuple[Attribution, ...]:
    """The subject's share of all the excess of its kind, then what of its own excess runs through its neighbours: in
    the same steps, since the latest ones may have their calls already, and their costs not yet."""
    same = [each for each in spikes if each.subject.kind == spike.subject.kind and each.unit == spike.unit]
    total = fsum(each.excess for each in same)
    parts = [Attribution(subject=spike.subject, share=spike.excess / total if total else 1.0)]
    ends = {end for edge in notes.around(spike.subject) for end in (edge.source, edge.target)} - {spike.subject}
    for neighbour in sorted(ends, key=str):
        if neighbour.kind not in _RELATED or notes.path(spike.subject, neighbour) is None:
            continue
        rate = measure(notes, neighbour, config, now, spike.during)
        if rate is not None and rate.unit == spike.unit and spike.excess > 0:
            share = min(1.0, rate.excess / spike.excess)
            if share >= 0.05:
                parts.append(Attribution(subject=neighbour, share=share))
    return (parts[0], *sorted(parts[1:], key=lambda part: (-part.share, str(part.subject))))
