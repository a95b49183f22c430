"""Runaway agent loop: runs that repeat themselves, go deeper than they should, or do not end.

One finding per agent and key, whatever the number of runs. It sees what spans tell: where tool arguments are not
recorded, repeats are not seen, and depth and time must do.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from watchkeeper.agents.detector.basis import LoopCase
from watchkeeper.agents.detector.config import RunawayLoopConfig
from watchkeeper.agents.detector.drafting import Detected, Sighting, detect, draw
from watchkeeper.agents.detector.facts import Notes
from watchkeeper.agents.manifest import RUNAWAY_LOOP
from watchkeeper.core.findings import Attribution, FailureMode, Finding, Observation, Severity, Sign
from watchkeeper.core.subjects import Edge, EdgeSource, Scope, Subject, SubjectKind
from watchkeeper.signals.state import RunView, SignalState

MANY_RUNS = 3


def signs_of(run: RunView, config: RunawayLoopConfig, now: datetime) -> tuple[Observation, ...]:
    """The signs that reached their limits; none for a run that has ended."""
    if run.terminated:
        return ()
    age_s = (now - run.started).total_seconds()
    endless_s = age_s if run.iterations >= config.min_iterations else 0.0
    seen = (
        (Sign.REPEATED_TOOL_CALL, float(run.repeated), float(config.max_repeats), "calls"),
        (Sign.CYCLE, float(run.cycle[1]), float(config.max_cycles), "repeats"),
        (Sign.DEPTH, float(run.iterations), float(config.max_iterations), "iterations"),
        (Sign.NO_TERMINATION, endless_s, config.max_run_s, "s"),
    )
    return tuple(
        Observation(sign=sign, observed=observed, expected=limit, unit=unit)
        for sign, observed, limit, unit in seen
        if observed >= limit
    )


def looping(
    state: SignalState, config: RunawayLoopConfig, now: datetime
) -> dict[tuple[str, str], list[tuple[RunView, tuple[Observation, ...]]]]:
    """The runs that loop now, by (agent, key)."""
    groups: dict[tuple[str, str], list[tuple[RunView, tuple[Observation, ...]]]] = {}
    for run in state.runs(now - timedelta(seconds=config.silent_s)):
        signs = signs_of(run, config, now)
        if signs:
            groups.setdefault((run.agent, run.key), []).append((run, signs))
    return groups


def evaluate(state: SignalState, config: RunawayLoopConfig, now: datetime) -> tuple[Detected, ...]:
    groups = looping(state, config, now)
    cases = (LoopCase(agent=a, key=k, runs=tuple(run for run, _ in groups[a, k])) for a, k in sorted(groups))
    return detect(judge, cases, config, state, now)


def judge(notes: Notes, config: RunawayLoopConfig, now: datetime, case: LoopCase) -> Finding | None:
    runs = [(run, signs) for run in case.runs if (signs := signs_of(run, config, now))]
    return draw(_sighting(case.agent, case.key, runs, notes, config), RUNAWAY_LOOP, notes, now) if runs else None


def _sighting(
    agent: str,
    key: str,
    runs: list[tuple[RunView, tuple[Observation, ...]]],
    notes: Notes,
    config: RunawayLoopConfig,
) -> Sighting:
    observations = _strongest(observation for _, signs in runs for observation in signs)
    views = sorted((run for run, _ in runs), key=lambda run: (-run.iterations, -run.repeated, run.id))
    named = [Subject(kind=kind, id=name) for kind, name in _names(agent, key, views[0].service) if name]
    subject = next((each for each in named if each.kind != SubjectKind.SERVICE), None)
    subject = subject or Subject(kind=SubjectKind.RUN, id=views[0].id)
    far = any(each.observed >= config.critical_factor * each.expected for each in observations)
    return Sighting(
        mode=FailureMode.RUNAWAY_LOOP,
        subject=subject,
        severity=Severity.CRITICAL if far or len(views) >= MANY_RUNS else Severity.WARNING,
        onset=min(run.started for run in views),
        observations=observations,
        attribution=tuple(Attribution(subject=each, share=1.0) for each in named),
        estimated=any(run.estimated for run in views),
        scope=_scope(subject, views[0], notes),
        ways=_ways(key, views, notes),
    )


def _ways(key: str, views: list[RunView], notes: Notes) -> tuple[Edge, ...]:
    """From the run to its key: proven where the gateway's record of its calls says so, or where configuration gives
    the key to the service that the run names. A span's own word on the key proves nothing."""
    if not key:
        return ()
    through = Subject(kind=SubjectKind.KEY, id=key)
    known_from = EdgeSource.SPAN
    if all(run.key_joined for run in views):
        known_from = EdgeSource.CALL_ID
    elif all(_serves(run.service, through, notes) for run in views):
        known_from = EdgeSource.CONFIG
    run = Subject(kind=SubjectKind.RUN, id=views[0].id)
    return (Edge(source=run, target=through, known_from=known_from),)


def _serves(service: str, key: Subject, notes: Notes) -> bool:
    between = notes.edges_between(Subject(kind=SubjectKind.SERVICE, id=service), key)
    return any(edge.known_from is EdgeSource.CONFIG for edge in between)


def _names(agent: str, key: str, service: str) -> tuple[tuple[SubjectKind, str], ...]:
    return ((SubjectKind.AGENT, agent), (SubjectKind.KEY, key), (SubjectKind.SERVICE, service))


def _strongest(observations: Iterable[Observation]) -> tuple[Observation, ...]:
    """One observation for each sign, the largest."""
    best: dict[Sign, Observation] = {}
    for each in observations:
        if each.sign not in best or each.observed > best[each.sign].observed:
            best[each.sign] = each
    return tuple(best[sign] for sign in sorted(best))


def _scope(subject: Subject, run: RunView, notes: Notes) -> Scope:
    """What the links tell; a run that made no call yet is placed by its own spans."""
    known = notes.scope_of(subject)
    if known != notes.unassigned or not run.service:
        return known
    return Scope(environment=run.environment or notes.unassigned.environment, service=run.service)
