"""Provider outage or rate limit: a deployment, or a whole provider, that fails most of what reaches it.

Refusals by our own limits never count (invariant 12), but what a declared failure series counts is the query's to say.
A deployment is blamed while a sibling of the same provider is
well or silent; the provider, when all of several do badly.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from math import fsum
from typing import NamedTuple

from watchkeeper.agents.detector.basis import OutageCase
from watchkeeper.agents.detector.config import ProviderOutageConfig
from watchkeeper.agents.detector.drafting import Detected, Sighting, detect, draw
from watchkeeper.agents.detector.facts import Notes, Reads
from watchkeeper.agents.manifest import PROVIDER_OUTAGE
from watchkeeper.core.findings import Attribution, FailureMode, Finding, Observation, Severity, Sign
from watchkeeper.core.signals import ErrorClass
from watchkeeper.core.subjects import Subject, SubjectKind
from watchkeeper.signals.state import MAX_POINTS, SignalState, Tally

_SIGNS = (
    (ErrorClass.SERVER, Sign.HTTP_5XX),
    (ErrorClass.RATE_LIMITED, Sign.HTTP_429),
    (ErrorClass.TIMEOUT, Sign.TIMEOUTS),
)
_MINOR = 0.1
"""A class of errors under this share of the calls is not told."""


class Health(NamedTuple):
    """The latest buckets of a deployment or provider, as many as it takes to judge. `ratio` None: nothing to judge."""

    subject: Subject
    ratio: float | None
    errors: tuple[tuple[ErrorClass, float], ...]
    """Counted calls only; none where the series alone tells of failures."""
    calls: float
    reported: float
    bad: bool
    onset: datetime
    estimated: bool
    series: float | None = None
    """The share of failures by the declared series; it judges where it is worse than the calls, or has no calls beside
    it."""


class _Slot(NamedTuple):
    start: datetime
    errors: dict[ErrorClass, float]
    served: float
    reported: float
    estimated: bool

    @property
    def ratio(self) -> float:
        failed = fsum(self.errors.values())
        return failed / (failed + self.served)


def health(state: Reads, subject: Subject, config: ProviderOutageConfig, now: datetime) -> Health:
    """By the calls and by the declared failure series, whichever is worse."""
    counted = _counted(state, subject, config, now)
    since = now - timedelta(seconds=config.window_s)
    told = [points[-config.consecutive :] for points in state.series(config.failure_series, subject, since)]
    if not config.failure_series or not told:
        return counted
    worst = max(told, key=lambda points: (min(value for _, value in points), points))
    share = worst[-1][1]
    enough = len(worst) >= min(config.consecutive, MAX_POINTS)
    bad = enough and all(value >= config.error_ratio for _, value in worst)
    return counted._replace(
        ratio=share if counted.ratio is None else max(share, counted.ratio),
        reported=max(counted.reported, config.min_calls),
        bad=bad or counted.bad,
        onset=min(counted.onset, worst[0][0]) if bad else counted.onset,
        series=share,
    )


def _counted(state: Reads, subject: Subject, config: ProviderOutageConfig, now: datetime) -> Health:
    since = now - timedelta(seconds=config.window_s)
    slots = _slots(state, subject, since, now, config)
    used: list[_Slot] = []
    for slot in reversed(slots):
        if len(used) >= config.consecutive and fsum(each.reported for each in used) >= config.min_calls:
            break
        used.append(slot)
    errors = {kind: fsum(slot.errors.get(kind, 0.0) for slot in used) for kind, _ in _SIGNS}
    failed, served = fsum(errors.values()), fsum(slot.served for slot in used)
    reported = fsum(slot.reported for slot in used)
    ratio = failed / (failed + served) if failed + served > 0 else None
    failing = [slot for slot in used if slot.ratio >= config.error_ratio]
    enough = reported >= config.min_calls and len(failing) >= config.consecutive
    return Health(
        subject=subject,
        ratio=ratio,
        errors=tuple((kind, count) for kind, count in errors.items() if count),
        calls=failed + served,
        reported=reported,
        bad=ratio is not None and ratio >= config.error_ratio and enough,
        onset=_onset(slots, config, now),
        estimated=any(slot.estimated for slot in used),
    )


def _slots(state: Reads, subject: Subject, since: datetime, now: datetime, config: ProviderOutageConfig) -> list[_Slot]:
    """The buckets in which calls reached the subject, with the failures that name nobody but must be its own."""
    end = now + timedelta(microseconds=1)
    tallies = dict(state.buckets(subject, since, end))
    unplaced = _unplaced(state, subject, since, now, config) if any(t.provider_errors for t in tallies.values()) else {}
    slots = []
    for start in sorted({*tallies, *unplaced}):
        tally, orphan = tallies.get(start, Tally()), unplaced.get(start, Tally())
        reach = tally.served + tally.provider_errors + orphan.unplaced
        if reach > 0:
            share = orphan.unplaced / orphan.provider_errors if orphan.provider_errors else 0.0
            errors = {kind: tally.error(kind) + share * orphan.error(kind) for kind, _ in _SIGNS}
            slots.append(
                _Slot(start, errors, tally.served, tally.judged + orphan.unplaced, tally.estimated or orphan.estimated)
            )
    return slots


def _unplaced(
    state: Reads, subject: Subject, since: datetime, now: datetime, config: ProviderOutageConfig
) -> dict[datetime, Tally]:
    """Provider faults of the model group that name no deployment, if this is the only one that served it of late.

    A gateway in cool-down answers 429 itself, naming nobody.
    """
    if subject.kind is not SubjectKind.DEPLOYMENT:
        return {}
    lookback = now - timedelta(seconds=config.lookback_s)
    found: dict[datetime, Tally] = {}
    for edge in state.around(subject):
        if edge.target != subject or edge.source.kind is not SubjectKind.MODEL:
            continue
        below = [each.target for each in state.around(edge.source) if each.source == edge.source]
        active = [each for each in below if state.tally(each, lookback, now).judged]
        if active == [subject]:
            found.update((start, tally) for start, tally in state.buckets(edge.source, since, now) if tally.unplaced)
    return found


def _onset(slots: list[_Slot], config: ProviderOutageConfig, now: datetime) -> datetime:
    onset = now
    for slot in reversed(slots):
        if slot.ratio < config.error_ratio:
            break
        onset = slot.start
    return onset


_Blamed = tuple[Health, list[Health]]
"""Who is to blame, and the deployments that do badly of it."""


def evaluate(state: SignalState, config: ProviderOutageConfig, now: datetime) -> tuple[Detected, ...]:
    return detect(judge, _cases(state, config, now), config, state, now)


def _cases(state: SignalState, config: ProviderOutageConfig, now: datetime) -> list[OutageCase]:
    healths = {
        subject: health(state, subject, config, now) for subject in _known(SubjectKind.DEPLOYMENT, state, config)
    }
    cases: list[OutageCase] = []
    placed: set[Subject] = set()
    for provider in _known(SubjectKind.PROVIDER, state, config):
        own = [
            healths[edge.source] for edge in state.around(provider) if _deploys(edge.source, provider, healths, state)
        ]
        names = tuple(each.subject for each in own)
        placed.update(names)
        for who, _ in _blamed(provider, own, state, config, now):
            cases.append(OutageCase(subject=who.subject, provider=provider, deployments=names))
    alone = [subject for subject in sorted(healths, key=lambda each: each.id) if subject not in placed]
    cases += [OutageCase(subject=each, provider=None, deployments=(each,)) for each in alone if healths[each].bad]
    return cases


def judge(notes: Notes, config: ProviderOutageConfig, now: datetime, case: OutageCase) -> Finding | None:
    own = [health(notes, each, config, now) for each in case.deployments]
    blamed = _each(own) if case.provider is None else _blamed(case.provider, own, notes, config, now)
    for who, parts in blamed:
        if who.subject == case.subject:
            return draw(_sighting(who, parts, notes, config, now), PROVIDER_OUTAGE, notes, now)
    return None


def _blamed(
    provider: Subject, own: list[Health], state: Reads, config: ProviderOutageConfig, now: datetime
) -> list[_Blamed]:
    """The provider, or those of its deployments that do badly."""
    bad, spoken = [each for each in own if each.bad], [each for each in own if each.ratio is not None]
    if len(bad) > 1 and len(bad) == len(spoken):
        return [(health(state, provider, config, now), bad)]
    if own:
        return _each(bad)
    whole = health(state, provider, config, now)
    return [(whole, [])] if whole.bad else []


def _each(healths: list[Health]) -> list[_Blamed]:
    return [(each, [each]) for each in healths if each.bad]


def _known(kind: SubjectKind, state: SignalState, config: ProviderOutageConfig) -> list[Subject]:
    """The subjects with calls in memory, and those of the declared series."""
    named = state.with_series(config.failure_series, kind) if config.failure_series else ()
    return sorted({*state.subjects(kind), *named}, key=lambda subject: subject.id)


def _deploys(source: Subject, provider: Subject, healths: dict[Subject, Health], state: SignalState) -> bool:
    return source in healths and bool(state.edges_between(source, provider))


def _sighting(who: Health, parts: list[Health], notes: Notes, config: ProviderOutageConfig, now: datetime) -> Sighting:
    subject = who.subject
    ratio = who.ratio or 0.0
    since = now - timedelta(seconds=max(config.window_s, config.lookback_s))
    return Sighting(
        mode=FailureMode.PROVIDER_OUTAGE,
        subject=subject,
        severity=Severity.CRITICAL if ratio >= config.critical_ratio else Severity.WARNING,
        onset=min([who.onset, *(part.onset for part in parts)]),
        observations=_observations(who, parts, notes, config, since),
        attribution=_attribution(who, parts),
        estimated=who.estimated,
    )


def _observations(
    who: Health, parts: list[Health], notes: Notes, config: ProviderOutageConfig, since: datetime
) -> tuple[Observation, ...]:
    counts = dict(who.errors)
    found = [
        Observation(sign=sign, observed=counts.get(kind, 0.0) / who.calls, expected=config.error_ratio, unit="share")
        for kind, sign in _SIGNS
        if who.calls and counts.get(kind, 0.0) / who.calls >= _MINOR
    ]
    series = max((each.series for each in (who, *parts) if each.series is not None), default=None)
    if series is not None and series >= config.error_ratio:
        expected = config.error_ratio
        found.append(Observation(sign=Sign.FAILURE_SERIES, observed=series, expected=expected, unit="share"))
    subjects = dict.fromkeys([who.subject, *(part.subject for part in parts)])
    levels = [level for each in subjects if (level := notes.level(config.state_series, each, since))]
    if levels:
        found.append(Observation(sign=Sign.GATEWAY_STATE, observed=max(levels), expected=0.0, unit="state"))
    alerts = {name for each in subjects for name in notes.alerts(each)}
    if alerts:
        found.append(Observation(sign=Sign.ALERT, observed=float(len(alerts)), expected=0.0, unit="alerts"))
    return tuple(found)


def _attribution(who: Health, parts: list[Health]) -> tuple[Attribution, ...]:
    """The blamed subject, then each failing deployment by its share of the failures."""
    failed = {part.subject: fsum(count for _, count in part.errors) for part in parts if part.subject != who.subject}
    total = fsum(failed.values())
    shares = [Attribution(subject=each, share=count / total) for each, count in failed.items() if total]
    shares.sort(key=lambda part: (-part.share, str(part.subject)))
    return (Attribution(subject=who.subject, share=1.0), *shares)
