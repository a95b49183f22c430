"""Which spans enclose a model call that carries usage: those must not be counted as calls themselves.

The way up a trace is followed as far as its spans are known, and again when a missing one arrives, so the answer does
not depend on the order of arrival.
"""

from __future__ import annotations

from pydantic import JsonValue

from watchkeeper.core.signals import Span, SpanOp
from watchkeeper.signals.state.config import StateConfig
from watchkeeper.signals.state.evictions import Evictions
from watchkeeper.signals.state.instants import to_us

MAX_DEPTH = 64


class Traces:
    def __init__(self, config: StateConfig, evictions: Evictions) -> None:
        self._max, self._evictions = config.max_spans, evictions
        self._parents: dict[str, tuple[str, int]] = {}
        self._enclosing: dict[str, int] = {}

    def place(self, span: Span) -> tuple[str, ...]:
        """Takes the span's place in its trace; gives the spans that are now known to enclose a real call."""
        name = f"{span.trace_id}/{span.span_id}"
        parent = f"{span.trace_id}/{span.parent_id}" if span.parent_id else ""
        at = to_us(span.at)
        known = self._parents.get(name)
        if known is None or (parent, at) > known:
            self._parents[name] = (parent, at)
            if len(self._parents) > self._max:
                self._evict()
        carried = self._enclosing.get(name, -1)
        if span.op is SpanOp.MODEL and span.usage is not None:
            carried = max(carried, at)
        return self._climb(parent, carried) if carried >= 0 else ()

    def encloses(self, name: str) -> bool:
        return name in self._enclosing

    def _climb(self, name: str, at: int) -> tuple[str, ...]:
        found = []
        for _ in range(MAX_DEPTH):
            if not name:
                break
            seen = self._enclosing.get(name)
            if seen is None:
                found.append(name)
            self._enclosing[name] = at if seen is None else max(at, seen)
            name = self._parents.get(name, ("", 0))[0]
        if len(self._enclosing) > self._max:
            self._evict_enclosing()
        return tuple(found)

    def _evict(self) -> None:
        count = max(1, self._max // 20)
        order = sorted((at, name) for name, (_, at) in self._parents.items())
        for _, name in order[:count]:
            del self._parents[name]
        self._evictions.add("span", "max_spans", min(count, len(order)))

    def _evict_enclosing(self) -> None:
        count = max(1, self._max // 20)
        order = sorted((at, name) for name, at in self._enclosing.items())
        for _, name in order[:count]:
            del self._enclosing[name]
        self._evictions.add("enclosing_span", "max_spans", min(count, len(order)))

    def prune(self, before_us: int) -> None:
        self._parents = {name: place for name, place in self._parents.items() if place[1] >= before_us}
        self._enclosing = {name: at for name, at in self._enclosing.items() if at >= before_us}

    def dump(self) -> JsonValue:
        return [
            [[name, parent, at] for name, (parent, at) in sorted(self._parents.items())],
            [[name, at] for name, at in sorted(self._enclosing.items())],
        ]

    def load(self, rows: TraceRows) -> None:
        self._parents = {name: (parent, at) for name, parent, at in rows[0]}
        self._enclosing = dict(rows[1])


TraceRows = tuple[list[tuple[str, str, int]], list[tuple[str, int]]]
"""(span, parent, at), and (enclosing span, at)."""
