"""What a judgement reads of the signal state, noted answer by answer: with the notes alone it can be judged again.

The first time a question is asked the state answers, and the answer is noted; judged again, only the notes answer. So
what is kept is what was read, by construction, and how the state came to its answers is no part of the judgement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from watchkeeper.core.model import Contract, Instant
from watchkeeper.core.signals import EventKind
from watchkeeper.core.subjects import Edge, Scope, Subject
from watchkeeper.signals.state import SignalState, StateConfig, StepSum, Tally

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

Points = tuple[tuple[Instant, float], ...]
Changed = tuple[Instant, EventKind, str, Subject]
Span = tuple[Subject, Instant, Instant]
"""A subject from one time up to, not including, another."""
Pair = tuple[Subject, Subject]


class StepRow(Contract):
    """The steps of one subject: (microseconds after `first`, calls, tokens, US dollars, whether sampled)."""

    of: Subject
    first: Instant | None
    rows: tuple[tuple[int, float, int, float, bool], ...]

    @classmethod
    def noted(cls, subject: Subject, steps: tuple[StepSum, ...]) -> StepRow:
        rows = ((_us(s.start - steps[0].start), s.calls, s.tokens, s.cost_usd, s.estimated) for s in steps)
        return cls(of=subject, first=steps[0].start if steps else None, rows=tuple(rows))

    def steps(self) -> tuple[StepSum, ...]:
        if self.first is None:
            return ()
        first = self.first
        return tuple(
            StepSum(first + timedelta(microseconds=after), calls, tokens, cost_usd, estimated)
            for after, calls, tokens, cost_usd, estimated in self.rows
        )


class Facts(Contract):
    """All that a judgement read: by kind, each question with what the state said to it. `changes` are those about the
    subject and its causes."""

    state: StateConfig
    unassigned: Scope
    steps: tuple[StepRow, ...] = ()
    remedied: tuple[tuple[Subject, tuple[tuple[Instant, Instant], ...]], ...] = ()
    tallies: tuple[tuple[Span, Tally], ...] = ()
    buckets: tuple[tuple[Span, tuple[tuple[Instant, Tally], ...]], ...] = ()
    series: tuple[tuple[tuple[str, Subject, Instant], tuple[Points, ...]], ...] = ()
    levels: tuple[tuple[tuple[str, Subject, Instant], float | None], ...] = ()
    alerts: tuple[tuple[Subject, tuple[str, ...]], ...] = ()
    changes: tuple[tuple[tuple[Instant, Instant], tuple[Changed, ...]], ...] = ()
    between: tuple[tuple[Pair, tuple[Edge, ...]], ...] = ()
    paths: tuple[tuple[Pair, tuple[Edge, ...] | None], ...] = ()
    around: tuple[tuple[Subject, tuple[Edge, ...]], ...] = ()
    scopes: tuple[tuple[Subject, Scope], ...] = ()


class NotNotedError(Exception):
    """A judgement asked for what the recorded one never read: it goes another way than that one did."""


class Reads(Protocol):
    """What measuring a subject asks; the signal state answers it, and so do notes."""

    @property
    def config(self) -> StateConfig: ...
    def steps(self, subject: Subject) -> tuple[StepSum, ...]: ...
    def remedied(self, subject: Subject) -> tuple[tuple[datetime, datetime], ...]: ...
    def tally(self, subject: Subject, since: datetime, until: datetime) -> Tally: ...
    def buckets(self, subject: Subject, since: datetime, until: datetime) -> tuple[tuple[datetime, Tally], ...]: ...
    def series(
        self, name: str, subject: Subject, since: datetime
    ) -> tuple[tuple[tuple[datetime, float], ...], ...]: ...
    def path(self, a: Subject, b: Subject) -> tuple[Edge, ...] | None: ...
    def around(self, subject: Subject) -> tuple[Edge, ...]: ...


class _Page(Generic[Asked, Answer]):
    def __init__(self, known: Iterable[tuple[Asked, Answer]] = ()) -> None:
        self.known = dict(known)

    def ask(self, of: Asked, state: Callable[[], Answer]) -> Answer:
        if of not in self.known:
            self.known[of] = state()
        return self.known[of]

    def told(self) -> tuple[tuple[Asked, Answer], ...]:
        return tuple(self.known.items())


class Notes:
    """Answers what judgements ask: from the state, or (`Notes.of`) from what was noted of it before."""

    def __init__(self, state: SignalState | None, facts: Facts) -> None:
        self._state, self.config, self.unassigned = state, facts.state, facts.unassigned
        self._steps: dict[Subject, tuple[StepSum, ...]] = {each.of: each.steps() for each in facts.steps}
        self._remedied, self._tallies, self._buckets = _Page(facts.remedied), _Page(facts.tallies), _Page(facts.buckets)
        self._series, self._levels, self._alerts = _Page(facts.series), _Page(facts.levels), _Page(facts.alerts)
        self._changes, self._between = _Page(facts.changes), _Page(facts.between)
        self._paths, self._around, self._scopes = _Page(facts.paths), _Page(facts.around), _Page(facts.scopes)

    @classmethod
    def on(cls, state: SignalState) -> Notes:
        return cls(state, Facts(state=state.config, unassigned=state.topology.unassigned()))

    @classmethod
    def of(cls, facts: Facts) -> Notes:
        return cls(None, facts)

    @property
    def _live(self) -> SignalState:
        if self._state is None:
            raise NotNotedError
        return self._state

    def facts(self) -> Facts:
        return Facts(
            state=self.config,
            unassigned=self.unassigned,
            steps=tuple(StepRow.noted(of, steps) for of, steps in self._steps.items()),
            remedied=self._remedied.told(),
            tallies=self._tallies.told(),
            buckets=self._buckets.told(),
            series=self._series.told(),
            levels=self._levels.told(),
            alerts=self._alerts.told(),
            changes=self._changes.told(),
            between=self._between.told(),
            paths=self._paths.told(),
            around=self._around.told(),
            scopes=self._scopes.told(),
        )

    def steps(self, subject: Subject) -> tuple[StepSum, ...]:
        if subject not in self._steps:
            self._steps[subject] = self._live.steps(subject)
        return self._steps[subject]

    def remedied(self, subject: Subject) -> tuple[tuple[datetime, datetime], ...]:
        return self._remedied.ask(subject, lambda: self._live.remedied(subject))

    def tally(self, subject: Subject, since: datetime, until: datetime) -> Tally:
        asked = (subject, since, until)
        return self._tallies.ask(asked, lambda: _judged(self._live.tally(subject, since, until)))

    def buckets(self, subject: Subject, since: datetime, until: datetime) -> tuple[tuple[datetime, Tally], ...]:
        def look() -> tuple[tuple[datetime, Tally], ...]:
            return tuple((start, _judged(tally)) for start, tally in self._live.buckets(subject, since, until))

        return self._buckets.ask((subject, since, until), look)

    def series(self, name: str, subject: Subject, since: datetime) -> tuple[Points, ...]:
        return self._series.ask((name, subject, since), lambda: self._live.series(name, subject, since))

    def level(self, name: str, subject: Subject, since: datetime) -> float | None:
        return self._levels.ask((name, subject, since), lambda: self._live.level(name, subject, since))

    def alerts(self, subject: Subject) -> tuple[str, ...]:
        return self._alerts.ask(subject, lambda: self._live.alerts(subject))

    def changes(self, since: datetime, until: datetime, about: frozenset[Subject]) -> tuple[Changed, ...]:
        """Those about some subjects only, which are the same ones for the same times of one judgement."""

        def look() -> tuple[Changed, ...]:
            return tuple(change for change in self._live.changes(since, until) if change[3] in about)

        return self._changes.ask((since, until), look)

    def edges_between(self, a: Subject, b: Subject) -> tuple[Edge, ...]:
        return self._between.ask((a, b), lambda: self._live.edges_between(a, b))

    def path(self, a: Subject, b: Subject) -> tuple[Edge, ...] | None:
        return self._paths.ask((a, b), lambda: self._live.path(a, b))

    def around(self, subject: Subject) -> tuple[Edge, ...]:
        return self._around.ask(subject, lambda: self._live.around(subject))

    def scope_of(self, subject: Subject) -> Scope:
        return self._scopes.ask(subject, lambda: self._live.scope_of(subject))


def _judged(tally: Tally) -> Tally:
    """Without the latencies, by which no detector judges."""
    return replace(tally, latency=())


def _us(after: timedelta) -> int:
    return after // timedelta(microseconds=1)
