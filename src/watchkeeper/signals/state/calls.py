"""Model calls, each counted once though agent, SDK and gateway may all report it.

Reports join on the call id (`gen_ai.response.id`, which is the gateway's request id). A model span that encloses
another one with usage only fills in what the inner one does not know. Reports of one call are kept until no more can
arrive; then their sum stays in the windows and the reports are forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import JsonValue

from watchkeeper.signals.state.config import StateConfig
from watchkeeper.signals.state.evictions import Evictions
from watchkeeper.signals.state.instants import seconds_us
from watchkeeper.signals.state.views import Config, Merged, Owner, Price, View, ViewId, merge, view_row

MAX_VIEWS = 16
"""Reports of one call beyond this are counted and dropped: nobody has so many tracers."""


@dataclass(slots=True)
class _Call:
    views: dict[ViewId, View] = field(default_factory=dict)
    outer: set[ViewId] = field(default_factory=set)
    merged: Merged | None = None


class Sink:
    """Where merged calls go, and who can say more about the run they are part of."""

    def __init__(
        self,
        put: Callable[[Merged, int], None],
        owner: Callable[[str], Owner],
        config: Config,
    ) -> None:
        self.put, self.owner, self.config = put, owner, config


class Calls:
    def __init__(self, config: StateConfig, price: Price, sink: Sink, evictions: Evictions) -> None:
        self._bucket_us = seconds_us(config.bucket_s)
        self._max = config.max_calls
        self._price, self._sink, self._evictions = price, sink, evictions
        self._calls: dict[str, _Call] = {}
        self._of_span: dict[str, str] = {}

    def report(self, call_key: str, identity: ViewId, view: View, outer: bool) -> None:
        """One report. The same one again changes nothing."""
        call = self._calls.get(call_key)
        if call is None:
            call = self._calls[call_key] = _Call()
            if len(self._calls) > self._max:
                self._evict(call_key)
        elif identity in call.views:
            return
        elif len(call.views) >= MAX_VIEWS:
            self._evictions.add("call_report", "max_views")
            return
        call.views[identity] = view
        if view.span:
            self._of_span[view.span] = call_key
        if outer:
            call.outer.add(identity)
        self._again(call)

    def enclose(self, span: str) -> None:
        """The span turned out to enclose the real call."""
        call = self._calls.get(self._of_span.get(span, ""))
        if call is not None:
            call.outer.update(identity for identity, view in call.views.items() if view.span == span)
            self._again(call)

    def reconsider(self, call_key: str) -> None:
        """The call's run has learned who owns it."""
        call = self._calls.get(call_key)
        if call is not None:
            self._again(call)

    def _again(self, call: _Call) -> None:
        merged = self._merge(call)
        if merged == call.merged:
            return
        if call.merged is not None:
            self._sink.put(call.merged, -1)
        call.merged = merged
        if merged is not None:
            self._sink.put(merged, 1)

    def _merge(self, call: _Call) -> Merged | None:
        if len(call.views) == 1:
            views, outer = ([], []) if call.outer else (list(call.views.values()), [])
        else:
            order = sorted(call.views.items(), key=lambda item: (not item[1].gateway, item[0]))
            views = [view for identity, view in order if identity not in call.outer]
            outer = [view for identity, view in order if identity in call.outer]
        if not views:
            return None
        run = next((view.run for view in views if view.run), "")
        owner = self._sink.owner(run) if run else Owner()
        return merge(views, outer, self._bucket_us, self._price, owner, self._sink.config)

    def _evict(self, keep: str) -> None:
        count = max(1, self._max // 20)
        order = sorted(
            (max(view.at for view in call.views.values()), call_key)
            for call_key, call in self._calls.items()
            if call_key != keep
        )
        for _, call_key in order[:count]:
            self._forget(call_key)
        self._evictions.add("call", "max_calls", min(count, len(order)))

    def _forget(self, call_key: str) -> None:
        for view in self._calls.pop(call_key).views.values():
            if view.span:
                self._of_span.pop(view.span, None)

    def knows(self, call_key: str) -> bool:
        return call_key in self._calls

    def prune(self, before_us: int) -> None:
        """Forgets the reports of calls that ended before; their sums stay."""
        for call_key, call in list(self._calls.items()):
            if all(view.at < before_us for view in call.views.values()):
                self._forget(call_key)

    def dump(self) -> JsonValue:
        return [
            [
                call_key,
                [[*identity, identity in call.outer, view_row(view)] for identity, view in sorted(call.views.items())],
            ]
            for call_key, call in sorted(self._calls.items())
        ]

    def load(self, rows: list[CallRow]) -> None:
        """Takes the reports back without counting them again: the windows were restored beside them."""
        self._calls.clear()
        self._of_span.clear()
        for call_key, reports in rows:
            call = self._calls[call_key] = _Call()
            for source, id_, outer, view in reports:
                call.views[source, id_] = view
                if view.span:
                    self._of_span[view.span] = call_key
                if outer:
                    call.outer.add((source, id_))

    def settle(self) -> None:
        """After a restore, once runs can be asked again: works out what each call had added."""
        for call in self._calls.values():
            call.merged = self._merge(call)


CallRow = tuple[str, list[tuple[str, str, bool, View]]]
"""(call, its reports as (source, id, whether it encloses the real call, report))."""
