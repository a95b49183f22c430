"""Signals for tests: makers of single calls and spans, and seeded traffic of a small system in simulated time.

The traffic is a service per agent, one key each, one model group over two deployments of one provider. Every call is
reported by its span and by the gateway. Nothing here sleeps or reads a clock.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from watchkeeper.core.signals import Call, ErrorClass, Signal, Span, SpanOp, Usage
from watchkeeper.core.subjects import Subject, SubjectKind
from watchkeeper.core.topology import ServiceEntry, Topology

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def subject(kind: SubjectKind, name: str) -> Subject:
    return Subject(kind=kind, id=name)


def call(
    name: str,
    when: datetime,
    *,
    key: str = "key-a",
    model: str = "chat",
    deployment: str = "dep-1",
    provider: str = "openai",
    service: str = "",
    agent: str = "",
    tokens: int = 100,
    cost: float | None = 0.01,
    error: ErrorClass | None = None,
    took_s: float = 0.5,
    source: str = "gateway",
) -> Call:
    return Call(
        id=name,
        source=source,
        at=when,
        started=when - timedelta(seconds=took_s),
        call_id=name,
        gateway="main",
        key=key,
        service=service,
        agent=agent,
        model_group=model,
        model=f"{model}-1",
        deployment=deployment,
        provider=provider,
        usage=Usage(input=tokens // 2, output=tokens - tokens // 2),
        cost_usd=cost,
        error=error,
    )


def span(
    name: str,
    when: datetime,
    op: SpanOp,
    *,
    run: str = "run-1",
    trace: str = "",
    parent: str | None = "root",
    agent: str = "bot",
    service: str = "svc",
    key: str = "",
    call_id: str = "",
    tokens: int | None = None,
    tool: str = "",
    digest: str = "",
    model: str = "chat",
    error: ErrorClass | None = None,
    sampling: float = 1.0,
    took_s: float = 0.5,
    source: str = "otlp",
) -> Span:
    return Span(
        id=f"{trace or run}/{name}",
        source=source,
        at=when,
        started=when - timedelta(seconds=took_s),
        trace_id=trace or run,
        span_id=name,
        parent_id=parent,
        op=op,
        run_id=run,
        service=service,
        agent=agent,
        key=key,
        requested_model=model if op is SpanOp.MODEL else "",
        call_id=call_id,
        usage=None if tokens is None else Usage(input=tokens // 2, output=tokens - tokens // 2),
        tool=tool,
        tool_call_digest=digest,
        error=error,
        sampling_rate=sampling,
    )


@dataclass
class Caller:
    """An agent with its key: `runs_per_s` runs of `turns` turns, each a tool call and a call of `cost` dollars."""

    name: str
    runs_per_s: float
    cost: float = 0.01
    turns: int = 2
    seasonal: float = 0.0
    """How much the rate swings over an hour (0..1)."""
    looping: bool = False
    limit_per_s: float | None = None
    """What the gateway lets through; the rest is refused as `limited`."""

    @property
    def key(self) -> str:
        return f"key-{self.name}"

    @property
    def service(self) -> str:
        return f"svc-{self.name}"


@dataclass
class Traffic:
    """Steps through time second by second; change callers or `fail` on the way to break it."""

    seed: int
    callers: list[Caller]
    weights: dict[str, float] = field(default_factory=lambda: {"dep-1": 1.0})
    fail: Callable[[str, random.Random], ErrorClass | None] = lambda deployment, rng: None
    model: str = "chat"
    second: int = 0
    count: int = 0

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self._loops: dict[str, str] = {}

    @property
    def now(self) -> datetime:
        return at(self.second)

    def caller(self, name: str) -> Caller:
        return next(caller for caller in self.callers if caller.name == name)

    def topology(self) -> Topology:
        entries = (
            ServiceEntry(name=caller.service, agents=(caller.name,), keys=(caller.key,)) for caller in self.callers
        )
        return Topology(services=tuple(entries))

    def run(self, seconds: int) -> Iterator[tuple[datetime, list[Signal]]]:
        """(end of the second, what was reported in it) for each second."""
        for _ in range(seconds):
            self.second += 1
            yield self.now, [signal for caller in self.callers for signal in self._second(caller)]

    def _second(self, caller: Caller) -> Iterator[Signal]:
        served = 0
        if caller.looping:
            run = self._loops.setdefault(caller.name, f"loop-{caller.name}-{self.second}")
            for part in range(4):
                served += yield from self._turn(caller, run, part * 0.25, 'lookup("same")', served)
            return
        if caller.name in self._loops:
            yield self._root(caller, self._loops.pop(caller.name))
        swing = 1 + caller.seasonal * math.sin(self.second / 3600 * 2 * math.pi)
        for _ in range(self._arrivals(caller.runs_per_s * swing)):
            self.count += 1
            run = f"run-{caller.name}-{self.count}"
            for turn in range(caller.turns):
                served += yield from self._turn(caller, run, 0.1 * turn, f"lookup({self.count}, {turn})", served)
            yield self._root(caller, run)

    def _arrivals(self, rate: float) -> int:
        """A Poisson number of runs."""
        bound, product, number = math.exp(-rate), self.rng.random(), 0
        while product > bound:
            product *= self.rng.random()
            number += 1
        return number

    def _root(self, caller: Caller, run: str) -> Span:
        return span(
            "root", self.now, SpanOp.AGENT, run=run, parent=None, agent=caller.name, service=caller.service, took_s=1
        )

    def _turn(self, caller: Caller, run: str, offset: float, digest: str, served: int) -> Generator[Signal, None, int]:
        self.count += 1
        name, when = f"c{self.count}", at(self.second - 0.9 + offset)
        who = partial(span, run=run, agent=caller.name, service=caller.service)
        yield who(f"{name}t", when, SpanOp.TOOL, tool="lookup", digest=digest, took_s=0.01)
        end = when + timedelta(seconds=0.05 + self.rng.random() * 0.04)
        deployment = self.rng.choices(list(self.weights), list(self.weights.values()))[0]
        error = self.fail(deployment, self.rng)
        if caller.limit_per_s is not None and served >= caller.limit_per_s:
            error, deployment = ErrorClass.LIMITED, ""
        cost = 0.0 if error else caller.cost * self.rng.uniform(0.8, 1.2)
        tokens = 0 if error else round(cost * 10_000)
        yield who(name, end, SpanOp.MODEL, call_id=name, tokens=tokens or None, error=error, took_s=0.05)
        yield call(
            name,
            end,
            key=caller.key,
            model=self.model,
            deployment=deployment,
            provider="openai" if deployment else "",
            tokens=tokens,
            cost=cost,
            error=error,
            took_s=0.05,
        )
        return 0 if error else 1
