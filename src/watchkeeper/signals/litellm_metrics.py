"""LiteLLM's `/metrics/`: the state of each deployment, and, for a gateway without a spend log, its calls.

A counted response becomes one `Call` that names its deployment and provider alone: spans tell the rest, and would count
twice otherwise. It has no latency, tokens, cost, key or time of its own. Counters are followed from the first poll on:
what was counted before, or while nobody polled, is not told as calls.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite

from watchkeeper.core.model import format_instant
from watchkeeper.core.signals import Call, ErrorClass, Sample
from watchkeeper.core.subjects import Subject, SubjectKind
from watchkeeper.signals.faults import error_class
from watchkeeper.signals.litellm_inventory import Inventory
from watchkeeper.signals.litellm_rows import bounded, is_own, provider_of
from watchkeeper.signals.names import clean

STATE = "litellm_deployment_state"
SUCCESS = "litellm_deployment_success_responses_total"
FAILURE = "litellm_deployment_failure_responses_total"
MAX_CALLS = 500
"""Calls made of one poll's counters; what is more is scaled down, so that the share of failures stays."""

_LINE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+\S+)?\s*$")
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
_ESCAPES = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}


@dataclass(frozen=True)
class Point:
    name: str
    labels: Mapping[str, str]
    value: float

    @property
    def series(self) -> str:
        """A short name of the series, the same in every poll."""
        told = "\n".join([self.name, *(f"{key}={value}" for key, value in sorted(self.labels.items()))])
        return hashlib.sha256(told.encode()).hexdigest()[:24]

    def label(self, name: str) -> str:
        """Its value; the gateway writes `None` for one that it does not know."""
        value = clean(self.labels.get(name, ""))
        return "" if value == "None" else value


def points(exposition: str, names: frozenset[str]) -> Iterator[Point]:
    """The named series of a Prometheus text exposition; lines that are not series are passed over."""
    for line in exposition.splitlines():
        if line.partition("{")[0].partition(" ")[0] not in names:
            continue
        found = _LINE.match(line)
        if found is None:
            continue
        labels = {key: re.sub(r"\\.", _unescaped, value) for key, value in _LABEL.findall(found[2] or "")}
        value = _number(found[3])
        if value is not None:
            yield Point(found[1], labels, value)


def _unescaped(found: re.Match[str]) -> str:
    return _ESCAPES.get(found[0], found[0])


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) else None


def states(found: Iterable[Point], inventory: Inventory, source: str, now: datetime) -> tuple[Sample, ...]:
    """The worst state told of each deployment: 0 healthy, 1 partial, 2 outage."""
    worst: dict[str, float] = {}
    for point in found:
        deployment = point.label("model_id")
        if point.name == STATE and deployment and not _by_group(point, deployment, inventory):
            worst[deployment] = max(point.value, worst.get(deployment, 0.0))
    return tuple(
        Sample(
            id=bounded(f"state/{deployment}/{format_instant(now)}"),
            source=source,
            at=now,
            name=STATE,
            subject=Subject(kind=SubjectKind.DEPLOYMENT, id=deployment),
            value=value,
        )
        for deployment, value in sorted(worst.items())
    )


def _by_group(point: Point, deployment: str, inventory: Inventory) -> bool:
    """A series labelled with the group's name is set when a deployment is taken out of use, and not set back."""
    name, own = point.label("litellm_model_name"), inventory.upstream_names.get(deployment)
    return name != own if own else name in inventory.groups


@dataclass(frozen=True)
class Counted:
    """Calls from counters. `levels` is what the counters stood at, `left_out` how many responses were scaled away;
    `generation` counts the gateway's restarts, after which counters tell the same numbers again."""

    calls: tuple[Call, ...] = ()
    levels: Mapping[str, float] = field(default_factory=dict)
    left_out: int = 0
    generation: int = 0


class Counters:
    """Follows the counters between polls. Until `settle`, a poll tells the same responses again, by the same ids."""

    def __init__(self, gateway: str, source: str) -> None:
        self._gateway, self._source = gateway, source
        self._levels: Mapping[str, float] | None = None
        self._epoch, self._generation = "", 0

    def read(self, found: Iterable[Point], inventory: Inventory, now: datetime) -> Counted:
        """`levels` of the first reading is where counting starts."""
        counters = [p for p in found if p.label("model_id") and (p.name == SUCCESS or _of_provider(p))]
        levels = {point.series: point.value for point in counters}
        if self._levels is None:
            self._epoch = format_instant(now)
            return Counted(levels=levels)
        generation = self._generation + self._restarted(levels)
        steps = [(point, *self._step(point)) for point in sorted(counters, key=lambda point: point.name)]
        total = sum(count for _, _, count in steps)
        keep, told, seen = min(total, MAX_CALLS), 0, 0
        calls: list[Call] = []
        for point, first, count in steps:
            seen += count
            share = seen * keep // total - told if total else 0
            told += share
            names = (f"{point.series}/{self._epoch}/{generation}/{first + n}" for n in range(1, share + 1))
            calls += [self._call(point, name, inventory, now) for name in names]
        return Counted(tuple(calls), levels, total - told, generation)

    def settle(self, counted: Counted) -> None:
        """What was read is safe elsewhere: go on from there."""
        self._levels, self._generation = counted.levels, counted.generation

    def _restarted(self, levels: Mapping[str, float]) -> bool:
        """A counter goes back, or away, only with its process."""
        return any(levels.get(series, -1.0) < last for series, last in (self._levels or {}).items())

    def _step(self, point: Point) -> tuple[int, int]:
        """(last count, responses since). A counter below its last count began anew with its process."""
        last = (self._levels or {}).get(point.series, 0.0)
        if point.value < last:
            return 0, int(point.value)
        return int(last), int(point.value) - int(last)

    def _call(self, point: Point, name: str, inventory: Inventory, now: datetime) -> Call:
        deployment = point.label("model_id")
        status = point.label("exception_status")
        return Call(
            id=name,
            source=self._source,
            at=now,
            started=now,
            call_id=f"metrics/{self._gateway}/{name}",
            gateway=self._gateway,
            deployment=deployment,
            provider=inventory.providers.get(deployment)
            or provider_of(point.label("api_provider"), point.label("api_base")),
            error=_failure(point, status) if point.name == FAILURE else None,
            http_status=int(status) if status.isdigit() else None,
        )


def _of_provider(point: Point) -> bool:
    """Failures are counted under `Openai.RateLimitError` and such; the gateway's own refusals name no provider."""
    provider, _, kind = point.label("exception_class").rpartition(".")
    return point.name == FAILURE and bool(provider) and not is_own(kind)


def _failure(point: Point, status: str) -> ErrorClass:
    return error_class(
        status=int(status) if status.isdigit() else None, kind=point.label("exception_class").rpartition(".")[2]
    )
