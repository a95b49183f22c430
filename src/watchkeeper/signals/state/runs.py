"""Runs of agents, keyed by run id: how deep they are, what they repeat, whether they ended.

A root span of an agent or workflow ends a part of the run; what counts is the part after the last end. Steps are kept
one by one within the lateness and within a bound; older ones are added up, and a span older than those is refused,
because it could be one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from pydantic import JsonValue

from watchkeeper.core.signals import Span, SpanOp
from watchkeeper.signals.state.config import StateConfig
from watchkeeper.signals.state.evictions import Evictions
from watchkeeper.signals.state.instants import from_us, to_us
from watchkeeper.signals.state.views import Owner

MAX_PERIOD, MAX_TAIL = 8, 96
MAX_DIGESTS = 200
MAX_NAMES = 64
NAMES = ("agent", "key", "service", "environment")


class Step(NamedTuple):
    """One span of a run. `token` names what was done: the same token is the same deed."""

    source: str
    id: str
    at: int
    started: int
    op: str
    token: str
    call: str
    ends: bool
    agent: str
    key: str
    service: str
    environment: str
    estimated: bool


class RunView(NamedTuple):
    """A run as detectors see it: the part since its last end. `cycle` is (length, whole repeats) at its tail."""

    id: str
    agent: str
    key: str
    key_joined: bool
    """Whether the gateway's own record has a call of the run with that key."""
    service: str
    environment: str
    iterations: int
    tool_calls: int
    repeated: int
    """How often the most repeated tool call was made with the same arguments."""
    cycle: tuple[int, int]
    started: datetime
    last: datetime
    terminated: bool
    estimated: bool


@dataclass(slots=True)
class _Past:
    """Steps that were added up, up to and including `until`."""

    until: int = -1
    started: int = -1
    iterations: int = 0
    tools: int = 0
    digests: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Run:
    steps: dict[str, Step] = field(default_factory=dict)
    past: _Past = field(default_factory=_Past)
    last: int = -1
    names: dict[tuple[str, str], int] = field(default_factory=dict)
    """How many spans name each agent, key, service and environment."""
    keys: dict[tuple[str, bool], int] = field(default_factory=dict)
    """Calls by the key that they were made with, and whether the gateway's record of the call says so."""
    dependents: set[str] = field(default_factory=set)
    """Calls that do not name their agent or key themselves."""
    owner: Owner = field(default_factory=Owner)
    view: RunView | None = None

    def called(self, what: str) -> dict[str, int]:
        return {name: count for (kind, name), count in self.names.items() if kind == what}

    def name(self, step: Step, sign: int) -> None:
        before = len(self.names)
        for what in NAMES:
            name: str = getattr(step, what)
            if name and ((what, name) in self.names or len(self.names) < MAX_NAMES):
                count = self.names.get((what, name), 0) + sign
                if count > 0:
                    self.names[what, name] = count
                else:
                    self.names.pop((what, name), None)
        if len(self.names) != before or sign < 0:
            self.settle()

    def settle(self) -> None:
        """The agent and the key that all of its spans agree on."""
        agents, keys = self.called("agent"), self.called("key")
        self.owner = Owner(
            agent=next(iter(agents)) if len(agents) == 1 else "", key=next(iter(keys)) if len(keys) == 1 else ""
        )


class Runs:
    def __init__(self, config: StateConfig, evictions: Evictions, encloses: Callable[[str], bool]) -> None:
        self._config, self._evictions, self._encloses = config, evictions, encloses
        self._runs: dict[str, Run] = {}

    def add(self, span: Span) -> tuple[str, ...]:
        """Takes a span; gives the calls that must be merged again because the run's owner is known better now."""
        run = self._runs.get(span.run_id)
        if run is None:
            run = self._runs[span.run_id] = Run()
            if len(self._runs) > self._config.max_runs:
                self._evict(span.run_id)
        name = f"{span.trace_id}/{span.span_id}"
        step = _step(span, name)
        known = run.steps.get(name)
        if known is not None and (known.source, known.id) <= (step.source, step.id):
            return ()
        if step.at <= run.past.until:
            self._evictions.add("span", "run_steps_added_up")
            return ()
        before = run.owner
        if known is not None:
            run.name(known, -1)
        run.name(step, 1)
        run.steps[name] = step
        run.last = max(run.last, step.at)
        run.view = None
        if len(run.steps) > self._config.max_steps_per_run:
            self._shorten(run, self._config.max_steps_per_run // 2)
        return tuple(sorted(run.dependents)) if run.dependents and run.owner != before else ()

    def owner(self, run_id: str) -> Owner:
        run = self._runs.get(run_id)
        return Owner() if run is None else run.owner

    def depend(self, run_id: str, call_key: str) -> None:
        """The call does not name its agent or key: the run may."""
        run = self._runs.get(run_id)
        if run is not None and len(run.dependents) < 2 * self._config.max_steps_per_run:
            run.dependents.add(call_key)

    def used(self, run_id: str, key: tuple[str, bool], sign: int) -> None:
        """A call of the run went through a key, as the gateway says (true) or only a span claims."""
        run = self._runs.get(run_id)
        if run is None or not key[0]:
            return
        count = run.keys.get(key, 0) + sign
        if count > 0 and (key in run.keys or len(run.keys) < MAX_NAMES):
            run.keys[key] = count
        else:
            run.keys.pop(key, None)
        run.view = None

    def touch(self, run_id: str) -> None:
        """One of its model spans turned out to enclose another."""
        run = self._runs.get(run_id)
        if run is not None:
            run.view = None

    def views(self, active_since: datetime) -> Iterator[RunView]:
        """The runs with a step at or after, by id."""
        since = to_us(active_since)
        for run_id in sorted(self._runs):
            run = self._runs[run_id]
            if run.last < since:
                continue
            if run.view is None:
                run.view = self._view(run_id, run)
            yield run.view

    def _view(self, run_id: str, run: Run) -> RunView:
        ended = max((step.at for step in run.steps.values() if step.ends), default=-1)
        past = run.past if ended < 0 else _Past()
        part = sorted(
            (step for name, step in run.steps.items() if step.at > ended and not self._enclosing(name, step)),
            key=lambda step: (step.started, step.at, step.source, step.id),
        )
        digests = dict(past.digests)
        for step in part:
            if step.op == SpanOp.TOOL and step.token:
                digests[step.token] = digests.get(step.token, 0) + 1
        tokens = [step.token or step.id for step in part if step.op in (SpanOp.TOOL, SpanOp.AGENT)]
        joined = _most({key: count for (key, told), count in run.keys.items() if told})
        starts = [step.started for step in part] + ([past.started] if past.started >= 0 else [])
        return RunView(
            id=run_id,
            agent=_most(run.called("agent")),
            key=joined or _most({key: count for (key, _), count in run.keys.items()}) or _most(run.called("key")),
            key_joined=bool(joined),
            service=_most(run.called("service")),
            environment=_most(run.called("environment")),
            iterations=past.iterations + len({step.call for step in part if step.op == SpanOp.MODEL}),
            tool_calls=past.tools + sum(step.op == SpanOp.TOOL for step in part),
            repeated=max(digests.values(), default=0),
            cycle=find_cycle(tokens[-MAX_TAIL:]),
            started=from_us(min(starts, default=max(ended, 0))),
            last=from_us(run.last),
            terminated=not part and past.started < 0,
            estimated=any(step.estimated for step in part),
        )

    def _enclosing(self, name: str, step: Step) -> bool:
        return step.op == SpanOp.MODEL and self._encloses(name)

    def _shorten(self, run: Run, keep: int) -> None:
        """Adds up the oldest steps until `keep` are left."""
        order = sorted(run.steps.items(), key=lambda item: (item[1].at, item[0]))
        self._add_up(run, order[: len(order) - keep])
        self._evictions.add("run_step", "max_steps_per_run", len(order) - keep)

    def _add_up(self, run: Run, steps: list[tuple[str, Step]]) -> None:
        past = run.past
        for name, step in steps:
            del run.steps[name]
            past.until = max(past.until, step.at)
            if step.ends:
                past.started, past.iterations, past.tools, past.digests = -1, 0, 0, {}
                continue
            past.started = step.started if past.started < 0 else min(past.started, step.started)
            past.iterations += step.op == SpanOp.MODEL and not self._enclosing(name, step)
            if step.op == SpanOp.TOOL:
                past.tools += 1
                if step.token and (step.token in past.digests or len(past.digests) < MAX_DIGESTS):
                    past.digests[step.token] = past.digests.get(step.token, 0) + 1
        run.view = None

    def _evict(self, keep: str) -> None:
        count = max(1, self._config.max_runs // 20)
        order = sorted((run.last, run_id) for run_id, run in self._runs.items() if run_id != keep)
        for _, run_id in order[:count]:
            del self._runs[run_id]
        self._evictions.add("run", "max_runs", min(count, len(order)))

    def prune(self, before_us: int, forget_us: int, known: Callable[[str], bool]) -> None:
        """Adds up steps that ended before `before_us`; forgets runs that were silent since `forget_us`.

        Only calls whose reports are still `known` can be merged again.
        """
        for run_id, run in list(self._runs.items()):
            if run.last < forget_us:
                del self._runs[run_id]
                continue
            old = sorted(
                ((name, step) for name, step in run.steps.items() if step.at < before_us),
                key=lambda item: (item[1].at, item[0]),
            )
            if old:
                self._add_up(run, old)
                run.dependents = {call for call in run.dependents if known(call)}

    def dump(self) -> JsonValue:
        return [
            [
                run_id,
                [[name, list(step)] for name, step in sorted(run.steps.items())],
                _plain(run.past),
                [[*key, count] for key, count in sorted(run.keys.items())],
                [*sorted(run.dependents)],
                run.last,
                [[*entry, count] for entry, count in sorted(run.names.items())],
            ]
            for run_id, run in sorted(self._runs.items())
        ]

    def load(self, rows: list[RunRow]) -> None:
        self._runs = {}
        for run_id, steps, past, keys, dependents, last, names in rows:
            until, started, iterations, tools, digests = past
            self._runs[run_id] = Run(
                steps=dict(steps),
                past=_Past(until, started, iterations, tools, dict(digests)),
                last=last,
                names={(what, name): count for what, name, count in names},
                keys={(key, joined): count for key, joined, count in keys},
                dependents=set(dependents),
            )
            self._runs[run_id].settle()


PastRow = tuple[int, int, int, int, list[tuple[str, int]]]
RunRow = tuple[
    str, list[tuple[str, Step]], PastRow, list[tuple[str, bool, int]], list[str], int, list[tuple[str, str, int]]
]


def _step(span: Span, name: str) -> Step:
    match span.op:
        case SpanOp.TOOL:
            token = f"tool/{span.tool}/{span.tool_call_digest}" if span.tool_call_digest else ""
        case SpanOp.AGENT:
            token = f"agent/{span.agent}" if span.agent else ""
        case _:
            token = ""
    return Step(
        source=span.source,
        id=span.id,
        at=to_us(span.at),
        started=to_us(span.started),
        op=span.op.value,
        token=token,
        call=span.call_id or name,
        ends=span.parent_id is None and span.op in (SpanOp.AGENT, SpanOp.WORKFLOW),
        agent=span.agent,
        key=span.key,
        service=span.service,
        environment=span.environment,
        estimated=span.sampling_rate < 1,
    )


def _most(counts: dict[str, int]) -> str:
    return min(counts, key=lambda name: (-counts[name], name)) if counts else ""


def find_cycle(tokens: list[str]) -> tuple[int, int]:
    """(length, whole repeats) of the cycle of at least two different deeds that the tokens end with; (0, 0) if none."""
    best = (0, 0)
    for period in range(2, MAX_PERIOD + 1):
        tail = tokens[-period:]
        if len(set(tail)) < 2:
            continue
        repeats = 1
        while tokens[-period * (repeats + 1) : -period * repeats] == tail:
            repeats += 1
        if repeats > 1 and period * repeats > best[0] * best[1]:
            best = (period, repeats)
    return best


def _plain(past: _Past) -> JsonValue:
    return [
        past.until,
        past.started,
        past.iterations,
        past.tools,
        [[digest, n] for digest, n in sorted(past.digests.items())],
    ]
