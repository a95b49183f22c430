"""How each source is doing: what it delivered, when, what went wrong last, and what of the past no gateway can tell.

Counted since the start of this process, and for this process alone: a replica that does not poll knows nothing of the
sources that are polled. What is told of a failure is the text of our own errors, which name places and no secrets.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import Field

from watchkeeper.core.clock import Clock
from watchkeeper.core.model import Contract, Instant

MAX_ERROR = 300
MISSED_TURNS = 3
MAX_UNREAD = 64
SLACK_S = 30.0
"""A polled source is stale when it was not read for `MISSED_TURNS` turns and this: one slow turn is no news."""


class SourceKind(StrEnum):
    GATEWAY = "gateway"
    PROMETHEUS = "prometheus"
    OTLP = "otlp"
    ALERTMANAGER = "alertmanager"


SENDING = (SourceKind.OTLP, SourceKind.ALERTMANAGER)
"""They send by themselves, under these names; the others are polled."""


class SourceState(StrEnum):
    """`partial`: some of it was unusable the last time. `stale`: no turn has ended for too long."""

    WAITING = "waiting"  # nothing came yet
    OK = "ok"
    PARTIAL = "partial"
    FAILING = "failing"
    STALE = "stale"


class SourceReport(Contract):
    """`signals` were new and are durable. `failures` counts polls that failed, or deliveries that were refused."""

    name: str
    kind: SourceKind
    state: SourceState
    signals: int = Field(default=0, ge=0)
    duplicates: int = Field(default=0, ge=0)
    failures: int = Field(default=0, ge=0)
    last_ok: Instant | None = None
    last_failure: Instant | None = None
    last_error: str = ""


@dataclass
class _Line:
    kind: SourceKind
    interval_s: float | None
    began: datetime
    signals: int = 0
    duplicates: int = 0
    failures: int = 0
    last_ok: datetime | None = None
    last_failure: datetime | None = None
    last_error: str = ""
    failing: bool = False
    partial: bool = False
    unread: deque[tuple[datetime, datetime]] = field(default_factory=lambda: deque(maxlen=MAX_UNREAD))
    """The latest times of which nothing was told before it was too late."""

    @property
    def read_until(self) -> datetime:
        return self.last_ok or self.began


class SourceBook:
    """One line for each source that is polled, and one for each way to send; so it is as long as the settings.

    `late_s`: what is told later than this is not counted any more (`StateConfig.lateness_s`).
    """

    def __init__(self, clock: Clock, late_s: float) -> None:
        self._clock, self._late = clock, timedelta(seconds=late_s)
        self._lines: dict[str, _Line] = {kind.value: _Line(kind, None, clock.now()) for kind in SENDING}

    def expect(self, name: str, kind: SourceKind, interval_s: float) -> None:
        """A source that is polled every `interval_s`."""
        self._lines[name] = _Line(kind, interval_s, self._clock.now())

    def delivered(self, name: str, new: int, duplicates: int, unusable: str = "") -> None:
        """A poll or delivery is durable. `unusable` says which part of it gave nothing that can be used."""
        line, now = self._lines[name], self._clock.now()
        line.signals += new
        line.duplicates += duplicates
        if line.interval_s is not None and line.read_until < now - self._late:
            line.unread.append((line.read_until, now - self._late))
        line.last_ok, line.failing, line.partial = now, False, bool(unusable)
        if unusable:
            line.last_failure, line.last_error = now, unusable[:MAX_ERROR]

    def failed(self, name: str, what: str) -> None:
        """A poll failed. Of one that sends: a delivery was refused, which says nothing of the next one."""
        line = self._lines[name]
        line.failures += 1
        line.last_failure, line.last_error = self._clock.now(), what[:MAX_ERROR]
        line.failing = line.interval_s is not None

    def gateways_told(self, start: datetime, end: datetime) -> bool:
        """Whether every gateway was read once after `end`, and in time for all that began since `start`."""
        return all(
            line.read_until >= end and not any(since < end and start < until for since, until in line.unread)
            for line in self._lines.values()
            if line.kind is SourceKind.GATEWAY
        )

    def reports(self) -> tuple[SourceReport, ...]:
        return tuple(self._report(name, line) for name, line in sorted(self._lines.items()))

    def _report(self, name: str, line: _Line) -> SourceReport:
        return SourceReport(
            name=name,
            kind=line.kind,
            state=self._state(line),
            signals=line.signals,
            duplicates=line.duplicates,
            failures=line.failures,
            last_ok=line.last_ok,
            last_failure=line.last_failure,
            last_error=line.last_error,
        )

    def _state(self, line: _Line) -> SourceState:
        if line.failing:
            return SourceState.FAILING
        if line.last_ok is None:
            return SourceState.WAITING
        if line.interval_s is not None:
            enough = timedelta(seconds=MISSED_TURNS * line.interval_s + SLACK_S)
            if self._clock.now() - line.last_ok > enough:
                return SourceState.STALE
        return SourceState.PARTIAL if line.partial else SourceState.OK
