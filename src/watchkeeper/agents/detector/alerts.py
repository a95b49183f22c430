"""Alerts that the team's own monitoring raises on what an adapter can act on, by the names that the settings map.

One finding per target and failure mode. It judges nothing by itself: the rule that fired did. An alert whose name is
not mapped starts nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from watchkeeper.agents.detector.basis import AlertCase
from watchkeeper.agents.detector.config import AlertsConfig
from watchkeeper.agents.detector.drafting import Detected, Sighting, detect, draw
from watchkeeper.agents.detector.facts import Notes
from watchkeeper.agents.manifest import ALERTS
from watchkeeper.core.findings import Attribution, FailureMode, Finding, Observation, Severity, Sign
from watchkeeper.core.subjects import Subject, SubjectKind
from watchkeeper.signals.state import SignalState


def evaluate(state: SignalState, config: AlertsConfig, now: datetime) -> tuple[Detected, ...]:
    return detect(judge, _cases(state, config), config, state, now)


def judge(notes: Notes, config: AlertsConfig, now: datetime, case: AlertCase) -> Finding | None:
    fires = [name for name in notes.alerts(case.subject) if config.modes.get(name) is case.mode]
    if not fires:
        return None
    seen = Observation(sign=Sign.ALERT_RULE, observed=float(len(fires)), expected=0.0, unit="alerts")
    sighting = Sighting(
        mode=case.mode,
        subject=case.subject,
        severity=Severity.CRITICAL if set(fires) & set(config.critical) else Severity.WARNING,
        onset=min(case.since, now),
        observations=(seen,),
        attribution=(Attribution(subject=case.subject, share=1.0),),
    )
    return draw(sighting, ALERTS, notes, now)


def fires(state: SignalState, config: AlertsConfig, subject: Subject, mode: FailureMode) -> bool:
    """Whether an alert that means this mode still fires on the subject."""
    return any(config.modes.get(name) is mode for name in state.alerts(subject))


def _cases(state: SignalState, config: AlertsConfig) -> Iterator[AlertCase]:
    """The first alert of a mode on a subject says since when."""
    seen: dict[tuple[Subject, FailureMode], datetime] = {}
    for subject, name, since in state.firing(SubjectKind.TARGET):
        mode = config.modes.get(name)
        if mode is not None:
            seen.setdefault((subject, mode), since)
    for (subject, mode), since in seen.items():
        yield AlertCase(subject=subject, mode=mode, since=since)
