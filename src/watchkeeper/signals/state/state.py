"""The signal state: takes signals in any order, answers what they add up to.

Guarantees: equal answers and equal snapshots for any order and repetition of the same signals, as long as each arrives
within the declared lateness and no bound is hit; both exceptions are counted in `evictions`. It does not persist
itself, and it is not safe to use from two threads at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from watchkeeper.core.entries import Eviction
from watchkeeper.core.signals import Call, Event, EventKind, Sample, Signal, Span, SpanOp, Usage
from watchkeeper.core.sli import SERIES, Measure, Sli, SliReading, SubjectSet
from watchkeeper.core.subjects import Edge, Scope, Subject, SubjectKind
from watchkeeper.core.topology import Topology
from watchkeeper.signals.state.calls import Calls, Sink
from watchkeeper.signals.state.config import StateConfig
from watchkeeper.signals.state.evictions import Evictions
from watchkeeper.signals.state.instants import from_us, seconds_us, to_us
from watchkeeper.signals.state.levels import FOREVER, Levels
from watchkeeper.signals.state.links import Links
from watchkeeper.signals.state.reading import judge, judge_series
from watchkeeper.signals.state.refs import Ref, ref_of, subject_of
from watchkeeper.signals.state.runs import Runs, RunView
from watchkeeper.signals.state.snapshot import decode, encode
from watchkeeper.signals.state.tally import PRIMARY, UNPLACED, Cell, StepSum, Tally, step_sum, tally_of
from watchkeeper.signals.state.traces import Traces
from watchkeeper.signals.state.views import Config, Merged, Price, view_of_call, view_of_span
from watchkeeper.signals.state.windows import Windows

MAX_AROUND = 32
"""Links told on each side of a subject."""


def no_price(model: str, usage: Usage) -> float | None:
    return None


class SignalState:
    def __init__(self, config: StateConfig, topology: Topology, price: Price = no_price) -> None:
        self.config, self.topology = config, topology
        self._evictions = Evictions()
        self._windows = Windows(config, self._evictions)
        self._links = Links(config, topology, self._evictions)
        self._levels = Levels(config, self._evictions)
        self._traces = Traces(config, self._evictions)
        self._runs = Runs(config, self._evictions, self._traces.encloses)
        sink = Sink(self._put, self._runs.owner, Config(self._home, self._agrees))
        self._calls = Calls(config, price, sink, self._evictions)
        self._homes = {key: entry.scope for entry in reversed(topology.services) for key in entry.keys}
        self._lateness_us = seconds_us(config.lateness_s)
        self._sweep_us = max(1, self._lateness_us // 4)
        self._now_us = self._heard_us = 0

    # taking in

    def apply(self, signal: Signal, received: datetime) -> None:
        """Takes one signal that arrived at `received`. One that is too late or from the future is counted, not kept."""
        received_us, at_us = to_us(received), to_us(signal.at)
        self._advance(received_us)
        self._heard_us = max(self._heard_us, received_us)
        if at_us > received_us + self._lateness_us:
            self._evictions.add(signal.type, "from_the_future")
            return
        match signal:
            case Call() | Span():
                late = received_us - self._lateness_us
                if at_us < max(late, self._now_us - 2 * self._lateness_us):
                    self._evictions.add(signal.type, "too_late")
                elif isinstance(signal, Call):
                    key = f"call/{signal.call_id or signal.id}"
                    self._calls.report(key, (signal.source, signal.id), view_of_call(signal), outer=False)
                else:
                    self._take_span(signal)
            case Sample():
                self._levels.sample(signal)
            case Event():
                self._levels.event(signal)

    def _take_span(self, span: Span) -> None:
        for name in self._traces.place(span):
            self._calls.enclose(name)
            self._runs.touch(span.run_id)
        for call_key in self._runs.add(span):
            self._calls.reconsider(call_key)
        if span.op is SpanOp.MODEL:
            name = f"{span.trace_id}/{span.span_id}"
            call_key = f"call/{span.call_id}" if span.call_id else f"span/{name}"
            if not (span.agent and span.key):
                self._runs.depend(span.run_id, call_key)
            outer = self._traces.encloses(name)
            if self._links.deploys(span.requested_model):
                span = span.model_copy(update={"provider": ""})
            self._calls.report(call_key, (span.source, span.id), view_of_span(span), outer)

    def _put(self, merged: Merged, sign: int) -> None:
        best = (*merged.deltas, (PRIMARY, 1))
        for ref, main, primary in merged.layout.subjects:
            deltas = best if primary else merged.deltas
            if merged.unplaced and ref[0] == SubjectKind.MODEL:
                deltas = (*deltas, (UNPLACED, merged.unplaced))
            self._windows.add(ref, main, merged.bucket, deltas, merged.latency, sign)
        at_us = merged.bucket * self._windows.bucket_us
        self._links.observe(at_us, merged.layout.edges, sign)
        if merged.scope is not None:
            self._links.place(at_us, [ref for ref, _, _ in merged.layout.subjects], merged.scope, sign)
        if merged.run:
            self._runs.used(merged.run, (merged.key, merged.joined), sign)

    def _home(self, key: str) -> str:
        scope = self._homes.get(key)
        return "" if scope is None else scope.service

    def _agrees(self, key: str, service: str, agent: str) -> bool:
        claimants = ((SubjectKind.SERVICE.value, service), (SubjectKind.AGENT.value, agent))
        return any(self._links.agree((SubjectKind.KEY.value, key), each) for each in claimants)

    def tick(self, now: datetime) -> None:
        """Lets time pass: what is too old is added up or forgotten."""
        self._advance(to_us(now))

    def _advance(self, now_us: int) -> None:
        if now_us <= self._now_us:
            return
        due = now_us // self._sweep_us != self._now_us // self._sweep_us
        self._now_us = now_us
        if due:
            self._sweep(now_us // self._sweep_us * self._sweep_us)

    def _sweep(self, now_us: int) -> None:
        settled = now_us - 3 * self._lateness_us
        self._calls.prune(settled)
        self._traces.prune(settled)
        history = now_us - seconds_us(self.config.history_s)
        horizon = now_us - seconds_us(self.config.horizon_s)
        self._runs.prune(settled, horizon, self._calls.knows)
        self._windows.prune(now_us)
        self._links.prune(now_us)
        self._levels.prune(history)

    def learn(self, edges: Iterable[Edge], gateway: str) -> None:
        """Takes the links of a gateway's whole inventory, in place of its last. Of a model group with known deployments
        the gateway reports every call, so a span's word on the provider (the protocol that it speaks, mostly) is not
        counted beside it."""
        self._links.learn(edges, gateway)

    def under_remedy(self, subject: Subject, since: datetime, until: datetime | None) -> None:
        """Marks the time in which our remedy changed the subject; None: it still does. Told again, it replaces."""
        self._levels.under_remedy(ref_of(subject), to_us(since), FOREVER if until is None else to_us(until))

    def evictions(self) -> tuple[Eviction, ...]:
        """What was let go since the last call, and why."""
        return self._evictions.drain()

    # answering

    def read(self, sli: Sli, now: datetime) -> SliReading:
        """The indicator over its window up to `now`, the running bucket included; at least one whole bucket is read."""
        since_us, now_us = to_us(now) - seconds_us(sli.window_s), to_us(now)
        if sli.measure.startswith(SERIES):
            return self._read_series(sli, since_us, now_us, now)
        if sli.measure == Measure.ALERTS_FIRING:
            return self._read_alerts(sli, since_us, now_us, now)
        bucket_us = self._windows.bucket_us
        last = now_us // bucket_us
        first = min(last - 1, -(-since_us // bucket_us))
        subjects = self._meant(sli, self._windows.known(sli.subject.kind), since_us, now_us)
        tally = tally_of(cell for ref in subjects for _, cell in self._windows.cells(ref, first, last))
        return judge(sli, tally, (now_us - first * bucket_us) / 1e6, now)

    def _read_series(self, sli: Sli, since_us: int, now_us: int, now: datetime) -> SliReading:
        name = sli.measure.removeprefix(SERIES)
        subjects = self._meant(sli, self._levels.refs(name, sli.subject.kind), since_us, now_us)
        latest = [points[-1].value for ref in subjects for points in self._levels.points(name, ref, since_us)]
        return judge_series(sli, latest, now)

    def _read_alerts(self, sli: Sli, since_us: int, now_us: int, now: datetime) -> SliReading:
        known = [change.ref for change in self._levels.firing() if change.ref[0] == sli.subject.kind]
        subjects = self._meant(sli, known, since_us, now_us)
        return judge_series(sli, [float(sum(len(self._levels.alerts(ref)) for ref in set(subjects)))], now)

    def _meant(self, sli: Sli, known: list[Ref], since_us: int, now_us: int) -> list[Ref]:
        if sli.over is SubjectSet.ONE:
            return [ref_of(sli.subject)]
        ours = self._changed_by_us(since_us, now_us)
        return [ref for ref in known if ref[1] != sli.subject.id and ref not in ours]

    def _changed_by_us(self, since_us: int, now_us: int) -> set[Ref]:
        """What a remedy held in that time: it is meant to be refused, so it is no bystander (invariant 12)."""
        return {ref for ref, since, until in self._levels.remedies() if since <= now_us and until >= since_us}

    def subjects(self, kind: SubjectKind) -> tuple[Subject, ...]:
        """All subjects of a kind with calls in memory, by id."""
        return tuple(subject_of(ref) for ref in self._windows.known(kind.value))

    def tally(self, subject: Subject, since: datetime, until: datetime) -> Tally:
        """The sums of all whole buckets that start in [since, until)."""
        first, last = self._span(since, until)
        return tally_of(cell for _, cell in self._windows.cells(ref_of(subject), first, last))

    def buckets(self, subject: Subject, since: datetime, until: datetime) -> tuple[tuple[datetime, Tally], ...]:
        """The sums of each bucket with calls that starts in [since, until), in order of time."""
        first, last = self._span(since, until)
        cells: dict[int, list[Cell]] = {}
        for bucket, cell in self._windows.cells(ref_of(subject), first, last):
            cells.setdefault(bucket, []).append(cell)
        return tuple((from_us(bucket * self._windows.bucket_us), tally_of(cells[bucket])) for bucket in sorted(cells))

    def _span(self, since: datetime, until: datetime) -> tuple[int, int]:
        bucket_us = self._windows.bucket_us
        return -(-to_us(since) // bucket_us), -(-to_us(until) // bucket_us) - 1

    def steps(self, subject: Subject) -> tuple[StepSum, ...]:
        """The sums of every step with calls that is remembered, in order of time; the last may still be running."""
        sums = self._windows.steps(ref_of(subject))
        return tuple(step_sum(from_us(step * self._windows.step_us), sums[step]) for step in sorted(sums))

    def runs(self, active_since: datetime) -> tuple[RunView, ...]:
        """The runs with a step at or after, by id."""
        return tuple(self._runs.views(active_since))

    def level(self, name: str, subject: Subject, since: datetime) -> float | None:
        """The latest value of a series of the subject, if told at or after `since`."""
        return self._levels.value(name, ref_of(subject), to_us(since))

    def series(self, name: str, subject: Subject, since: datetime) -> tuple[tuple[tuple[datetime, float], ...], ...]:
        """The latest values, with their times, of each series of that name and subject told at or after `since`."""
        found = self._levels.points(name, ref_of(subject), to_us(since))
        return tuple(tuple((from_us(point.at), point.value) for point in points) for points in found)

    def with_series(self, name: str, kind: SubjectKind) -> tuple[Subject, ...]:
        """The subjects of a kind that have a series of that name, by id."""
        return tuple(subject_of(ref) for ref in self._levels.refs(name, kind.value))

    def alerts(self, subject: Subject) -> tuple[str, ...]:
        """The alerts that fire on the subject."""
        return tuple(self._levels.alerts(ref_of(subject)))

    def firing(self, kind: SubjectKind) -> tuple[tuple[Subject, str, datetime], ...]:
        """The alerts that fire on subjects of a kind: about what, its name, and since when."""
        return tuple(
            (subject_of(change.ref), change.name, from_us(change.at))
            for change in self._levels.firing()
            if change.ref[0] == kind.value
        )

    def changes(self, since: datetime, until: datetime) -> tuple[tuple[datetime, EventKind, str, Subject], ...]:
        """Deploys, changes and our own effects between two times, as (at, kind, name, subject)."""
        return tuple(
            (from_us(change.at), EventKind(change.kind), change.name, subject_of(change.ref))
            for change in self._levels.changes(to_us(since), to_us(until))
        )

    def remedied(self, subject: Subject) -> tuple[tuple[datetime, datetime], ...]:
        """The times in which a remedy of ours was in force on the subject, or on one that it acts through or serves."""
        ref = ref_of(subject)
        return tuple(
            (from_us(since), from_us(until))
            for marked, since, until in self._levels.remedies()
            if self._links.path(ref, marked) is not None
        )

    @property
    def heard(self) -> datetime | None:
        """When the last signal arrived."""
        return from_us(self._heard_us) if self._heard_us else None

    def edges_between(self, a: Subject, b: Subject) -> tuple[Edge, ...]:
        return self._links.between(ref_of(a), ref_of(b))

    def path(self, a: Subject, b: Subject) -> tuple[Edge, ...] | None:
        """The shortest chain of links between two subjects; () for the same one, None where nothing links them."""
        return self._links.path(ref_of(a), ref_of(b))

    def around(self, subject: Subject) -> tuple[Edge, ...]:
        """The links above and below the subject, nearest first, within a bound."""
        return self._links.around(ref_of(subject), MAX_AROUND)

    def scope_of(self, subject: Subject) -> Scope:
        """The service that the subject belongs to; `unassigned` where nothing tells."""
        return self._links.scope_of(subject)

    # keeping

    def snapshot(self) -> bytes:
        """Everything, as canonical JSON."""
        return encode(
            {
                "bucket_us": self._windows.bucket_us,
                "step_us": self._windows.step_us,
                "now_us": self._now_us,
                "heard_us": self._heard_us,
                "windows": self._windows.dump(),
                "links": self._links.dump(),
                "levels": self._levels.dump(),
                "runs": self._runs.dump(),
                "traces": self._traces.dump(),
                "calls": self._calls.dump(),
                "evictions": self._evictions.dump(),
            }
        )

    def restore(self, body: bytes) -> None:
        """Replaces everything by a snapshot. Raises InputError if it is broken or of another bucket or step."""
        parts = decode(body, self._windows.bucket_us, self._windows.step_us)
        self._now_us, self._heard_us = parts.now_us, parts.heard_us
        self._windows.load(parts.windows)
        self._links.load(parts.links)
        self._levels.load(parts.levels)
        self._runs.load(parts.runs)
        self._traces.load(parts.traces)
        self._calls.load(parts.calls)
        self._calls.settle()
        self._evictions.load(parts.evictions)
