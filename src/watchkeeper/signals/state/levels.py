"""What is neither a call nor a run: the latest values of each series, and the changes, alerts and remedies of late.

Latest is by event time, whatever the order of arrival. Series never feed the call sums, which would count a call twice.
OTLP's own metrics are kept as evidence alone: they are sums since a process began, they name no call, and two
instrumentations of one process report the same call.
"""

from __future__ import annotations

from typing import NamedTuple

from pydantic import JsonValue

from watchkeeper.core.model import Labels
from watchkeeper.core.signals import Event, EventKind, Sample
from watchkeeper.signals.state.config import StateConfig
from watchkeeper.signals.state.evictions import Evictions
from watchkeeper.signals.state.instants import to_us
from watchkeeper.signals.state.refs import Ref, ref_of

FOREVER = 1 << 52
MAX_POINTS = 8
"""Values kept of a series."""
EVIDENCE_ONLY = "otlp"
"""The source whose series are shown, but not judged by."""

SeriesKey = tuple[str, str, str, Labels]
"""(name, kind, id, labels)."""


class Point(NamedTuple):
    at: int
    source: str
    id: str
    value: float


class Change(NamedTuple):
    """An event, by its time."""

    at: int
    kind: str
    name: str
    ref: Ref
    active: bool


class Levels:
    def __init__(self, config: StateConfig, evictions: Evictions) -> None:
        self._evictions, self._max_series, self._max_changes = evictions, config.max_levels, config.max_changes
        self._series: dict[SeriesKey, tuple[Point, ...]] = {}
        self._changes: dict[tuple[str, str], Change] = {}
        self._remedies: dict[tuple[Ref, int], int] = {}

    def sample(self, sample: Sample) -> None:
        key = (sample.name, *ref_of(sample.subject), sample.labels)
        point = Point(to_us(sample.at), sample.source, sample.id, sample.value)
        known = self._series.get(key, ())
        if point not in known:
            self._series[key] = tuple(sorted((*known, point))[-MAX_POINTS:])
        if len(self._series) > self._max_series:
            count = max(1, self._max_series // 20)
            for old in sorted(self._series, key=self._worth)[:count]:
                del self._series[old]
            self._evictions.add("series", "max_levels", count)

    def _worth(self, key: SeriesKey) -> tuple[bool, Point, SeriesKey]:
        """What is judged by outlasts what is not: whoever may send metrics cannot push out an indicator."""
        last = self._series[key][-1]
        return last.source != EVIDENCE_ONLY, last, key

    def event(self, event: Event) -> None:
        at = to_us(event.at)
        change = Change(at, event.kind.value, event.name, ref_of(event.subject), event.active)
        self._changes[event.source, event.id] = change
        if len(self._changes) > self._max_changes:
            count = max(1, self._max_changes // 20)
            for old in sorted(self._changes, key=lambda each: (self._changes[each], each))[:count]:
                del self._changes[old]
            self._evictions.add("change", "max_changes", count)

    def under_remedy(self, ref: Ref, since: int, until: int) -> None:
        self._remedies[ref, since] = until
        if len(self._remedies) > self._max_changes:
            del self._remedies[min(self._remedies, key=lambda mark: (mark[1], mark))]
            self._evictions.add("remedy_mark", "max_changes")

    def remedies(self) -> list[tuple[Ref, int, int]]:
        return sorted((ref, since, until) for (ref, since), until in self._remedies.items())

    def value(self, name: str, ref: Ref, since: int) -> float | None:
        """The highest of the latest values of all series of that name and subject, told at or after `since`."""
        return max((points[-1].value for points in self.points(name, ref, since)), default=None)

    def points(self, name: str, ref: Ref, since: int) -> list[tuple[Point, ...]]:
        """The latest values at or after `since` of each series of that name and subject, in order of time."""
        found = []
        for (series, kind, id_, _), points in sorted(self._series.items()):
            if series == name and (kind, id_) == ref and points[-1].source != EVIDENCE_ONLY:
                late = tuple(point for point in points if point.at >= since)
                found += [late] if late else []
        return found

    def refs(self, name: str, kind: str) -> list[Ref]:
        """The subjects of a kind that have a series of that name."""
        return sorted({(key[1], key[2]) for key in self._series if key[:2] == (name, kind)})

    def alerts(self, ref: Ref) -> list[str]:
        """The names of the alerts on the subject whose last word is that they fire."""
        return sorted({change.name for change in self.firing() if change.ref == ref})

    def firing(self) -> list[Change]:
        """Of each alert on each subject its last word, where that is that it fires; by time."""
        last: dict[tuple[Ref, str], Change] = {}
        for change in sorted(self._changes.values()):
            if change.kind == EventKind.ALERT:
                last[change.ref, change.name] = change
        return sorted(change for change in last.values() if change.active)

    def changes(self, since: int, until: int) -> list[Change]:
        """What changed something, or may have: an effect of ours that failed did not."""
        return sorted(change for change in self._changes.values() if change.active and since <= change.at <= until)

    def prune(self, before_us: int) -> None:
        self._series = {key: points for key, points in self._series.items() if points[-1].at >= before_us}
        fires = frozenset(self.firing())  # it is told once: what still fires is not forgotten
        self._changes = {
            key: change for key, change in self._changes.items() if change.at >= before_us or change in fires
        }
        self._remedies = {mark: until for mark, until in self._remedies.items() if until >= before_us}

    def dump(self) -> JsonValue:
        """Numbers are written as text: the snapshot holds no floats, whose canonical form is slow to make."""
        return [
            [
                [
                    name,
                    kind,
                    id_,
                    [list(pair) for pair in labels],
                    [[point.at, point.source, point.id, repr(point.value)] for point in points],
                ]
                for (name, kind, id_, labels), points in sorted(self._series.items())
            ],
            [
                [*key, change.at, change.kind, change.name, *change.ref, change.active]
                for key, change in sorted(self._changes.items())
            ],
            [[*ref, since, until] for ref, since, until in self.remedies()],
        ]

    def load(self, rows: LevelRows) -> None:
        series, changes, remedies = rows
        self._series = {
            (name, kind, id_, tuple(labels)): tuple(
                Point(at, source, signal, float(value)) for at, source, signal, value in points
            )
            for name, kind, id_, labels, points in series
        }
        self._changes = {
            (source, signal): Change(at, kind, name, (ref_kind, ref_id), active)
            for source, signal, at, kind, name, ref_kind, ref_id, active in changes
        }
        self._remedies = {((kind, id_), since): until for kind, id_, since, until in remedies}


LevelRows = tuple[
    list[tuple[str, str, str, list[tuple[str, str]], list[tuple[int, str, str, str]]]],
    list[tuple[str, str, int, str, str, str, str, bool]],
    list[tuple[str, str, int, int]],
]
