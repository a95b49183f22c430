"""Who acts through whom, and which service a subject belongs to, as calls, spans, inventory and configuration tell.

Observed links are counted per quarter of an hour and forgotten with the history; an inventory's stand until its next
one. A link between two subjects may be known from several sources; the strongest is told. What a span claims is told as
configured where both ends are configured members of one service.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from pydantic import JsonValue

from watchkeeper.core.subjects import Edge, EdgeSource, Scope, Subject, SubjectKind
from watchkeeper.core.topology import Topology
from watchkeeper.signals.state.config import StateConfig
from watchkeeper.signals.state.evictions import Evictions
from watchkeeper.signals.state.instants import seconds_us
from watchkeeper.signals.state.refs import Ref, ref_of, subject_of

EPOCH_US = 900 * 1_000_000
MAX_HOPS = 6
STRENGTH = tuple(
    source.value
    for source in (EdgeSource.CONFIG, EdgeSource.INVENTORY, EdgeSource.CALL_ID, EdgeSource.SPAN, EdgeSource.INFERRED)
)
"""The strongest source first."""

Link = tuple[Ref, Ref, str]
"""(source, target, known from)."""
CONFIGURED = ""
"""Who tells what the configuration says; an inventory's teller is its gateway."""

_SHARED = frozenset(
    kind.value for kind in (SubjectKind.MODEL, SubjectKind.DEPLOYMENT, SubjectKind.PROVIDER, SubjectKind.GATEWAY)
)

Neighbours = dict[Ref, dict[Ref, str]]


class _Graph(NamedTuple):
    """The strongest source of every link, by target and by source."""

    up: Neighbours
    down: Neighbours


def _walk(start: Ref, neighbours: Neighbours, limit: int, kinds: frozenset[str] | None) -> list[tuple[Ref, Ref]]:
    """(from, to) of the first `limit` links met going out from `start`, staying among `kinds`."""
    found: list[tuple[Ref, Ref]] = []
    seen, queue = {start}, deque([start])
    while queue and len(found) < limit:
        here = queue.popleft()
        for other in sorted(neighbours.get(here, {})):
            if kinds is None or other[0] in kinds:
                found.append((here, other))
                if other not in seen:
                    seen.add(other)
                    queue.append(other)
    return found[:limit]


class Links:
    def __init__(self, config: StateConfig, topology: Topology, evictions: Evictions) -> None:
        self._topology, self._evictions, self._max = topology, evictions, config.max_edges
        self._keep_us = seconds_us(config.history_s)
        self._told: dict[tuple[Link, str], int] = {}
        self._tellers: frozenset[str] = frozenset()
        self._deploying: frozenset[str] = frozenset()
        self._homes = _homes(topology)
        self._seen: dict[int, dict[Link, int]] = {}
        self._places: dict[int, dict[tuple[Ref, str, str], int]] = {}
        self._graph: _Graph | None = None
        self.learn(topology.edges(), CONFIGURED)

    def learn(self, edges: Iterable[Edge], teller: str) -> None:
        """Takes all that `teller` states now, in place of what it stated before: what is no longer there is gone."""
        self._told = {told: count for told, count in self._told.items() if told[1] != teller}
        for edge in edges:
            self._told[(ref_of(edge.source), ref_of(edge.target), edge.known_from.value), teller] = edge.count
        if len(self._told) > self._max:
            over = sorted(self._told, key=lambda told: (STRENGTH.index(told[0][2]), told))[self._max :]
            for told in over:
                del self._told[told]
            self._evictions.add("edge", "max_edges", len(over))
        self._settle()

    def _settle(self) -> None:
        self._graph = None
        self._tellers = frozenset(teller for _, teller in self._told)
        self._deploying = frozenset(
            source[1]
            for (source, target, _), _ in self._told
            if (source[0], target[0]) == (SubjectKind.MODEL, SubjectKind.DEPLOYMENT)
        )

    def deploys(self, model: str) -> bool:
        """Whether an inventory names deployments of the model group."""
        return model in self._deploying

    def observe(self, at_us: int, links: tuple[Link, ...], sign: int) -> None:
        epoch = self._seen.setdefault(at_us // EPOCH_US, {})
        for link in links:
            count = epoch.get(link, 0) + sign
            if count == sign > 0:
                if len(epoch) >= self._max:
                    self._evictions.add("edge", "max_edges")
                    continue
                self._graph = None
            if count > 0:
                epoch[link] = count
            else:
                epoch.pop(link, None)
                self._graph = None
        if not epoch:
            del self._seen[at_us // EPOCH_US]

    def place(self, at_us: int, refs: Iterable[Ref], scope: tuple[str, str], sign: int) -> None:
        """A call of this (environment, service) involved these subjects."""
        epoch = self._places.setdefault(at_us // EPOCH_US, {})
        for ref in refs:
            entry = (ref, *scope)
            count = epoch.get(entry, 0) + sign
            if count > 0 and (entry in epoch or len(epoch) < self._max):
                epoch[entry] = count
            elif count > 0:
                self._evictions.add("place", "max_edges")
            else:
                epoch.pop(entry, None)
        if not epoch:
            del self._places[at_us // EPOCH_US]

    def prune(self, now_us: int) -> None:
        first = (now_us - self._keep_us) // EPOCH_US
        for epochs in (self._seen, self._places):
            for epoch in [epoch for epoch in epochs if epoch < first]:
                del epochs[epoch]
        self._graph = None

    def between(self, a: Ref, b: Ref) -> tuple[Edge, ...]:
        """The direct links between two subjects, either way."""
        down = self._links().down
        return tuple(self._edge(x, y) for x, y in ((a, b), (b, a)) if y in down.get(x, {}))

    def path(self, a: Ref, b: Ref) -> tuple[Edge, ...] | None:
        """The shortest way along the links from `a` to `b`, else from `b` to `a`; empty for a = b, None for no way."""
        if a == b:
            return ()
        return self._search(a, b) or self._search(b, a)

    def _search(self, start: Ref, goal: Ref) -> tuple[Edge, ...] | None:
        down = self._links().down
        ways: dict[Ref, tuple[Ref, ...]] = {start: (start,)}
        queue = deque([start])
        while queue:
            here = queue.popleft()
            for target in sorted(down.get(here, {})):
                if target in ways:
                    continue
                way = ways[target] = (*ways[here], target)
                if target == goal:
                    return tuple(self._edge(x, y) for x, y in pairwise(way))
                if len(way) <= MAX_HOPS:
                    queue.append(target)
        return None

    def around(self, ref: Ref, limit: int) -> tuple[Edge, ...]:
        """The links above the subject and below it, nearest first, at most `limit` each way.

        Above what services share only what is shared is told: everybody stands there.
        """
        up, down = self._links()
        shared = ref[0] in _SHARED
        pairs = [(y, x) for x, y in _walk(ref, up, limit, _SHARED if shared else None)]
        pairs += _walk(ref, down, limit, None)
        return tuple(self._edge(x, y) for x, y in pairs)

    def _links(self) -> _Graph:
        if self._graph is None:
            known = [link for link, _ in self._told]
            known += [self._agreed(link) for epoch in self._seen.values() for link in epoch]
            graph = _Graph({}, {})
            for source, target, told in sorted(known, key=lambda link: (STRENGTH.index(link[2]), link)):
                graph.down.setdefault(source, {}).setdefault(target, told)
                graph.up.setdefault(target, {}).setdefault(source, told)
            self._graph = graph
        return self._graph

    def agree(self, a: Ref, b: Ref) -> bool:
        """Whether both are configured members of one service, or one is that service."""
        return not self._homes.get(a, _NOWHERE).isdisjoint(self._homes.get(b, _NOWHERE))

    def _agreed(self, link: Link) -> Link:
        """A span's claim counts as configured where both of its ends are members of one configured service."""
        source, target, told = link
        if told == EdgeSource.SPAN and self.agree(source, target):
            return (source, target, EdgeSource.CONFIG.value)
        return link

    def _edge(self, source: Ref, target: Ref) -> Edge:
        told = self._links().down[source][target]
        link = (source, target, told)
        count = sum(self._told.get((link, teller), 0) for teller in self._tellers)
        if not count:
            links = {link, (source, target, EdgeSource.SPAN.value)} if told == EdgeSource.CONFIG else {link}
            count = sum(epoch.get(each, 0) for epoch in self._seen.values() for each in links)
        return Edge(
            source=subject_of(source), target=subject_of(target), known_from=EdgeSource(told), count=max(1, count)
        )

    def scope_of(self, subject: Subject) -> Scope:
        """Configuration first; else, for what services share, the one service of its models; else what calls tell."""
        configured = self._topology.scope_of(subject)
        if configured is not None:
            return configured
        ref = ref_of(subject)
        shared = ref[0] in _SHARED
        if shared:
            above = {source for _, source in _walk(ref, self._links().up, self._max, _SHARED)}
            scopes = {self._topology.scope_of(subject_of(source)) for source in above} - {None}
            if len(scopes) == 1:
                return next(scope for scope in scopes if scope is not None)
        return self._observed(ref, shared=shared) or self._topology.unassigned()

    def _observed(self, ref: Ref, *, shared: bool) -> Scope | None:
        counts: dict[tuple[str, str], int] = {}
        for epoch in self._places.values():
            for (whose, environment, service), count in epoch.items():
                if whose == ref:
                    counts[environment, service] = counts.get((environment, service), 0) + count
        if not counts or (shared and len(counts) > 1):
            return None
        environment, service = min(counts, key=lambda place: (-counts[place], place))
        return Scope(environment=environment or self._topology.default_environment, service=service)

    def dump(self) -> JsonValue:
        return [
            [[*link[0], *link[1], link[2], teller, n] for (link, teller), n in sorted(self._told.items())],
            [
                [epoch, [[*link[0], *link[1], link[2], n] for link, n in sorted(links.items())]]
                for epoch, links in sorted(self._seen.items())
            ],
            [
                [epoch, [[*entry[0], *entry[1:], n] for entry, n in sorted(places.items())]]
                for epoch, places in sorted(self._places.items())
            ],
        ]

    def load(self, rows: LinkRows) -> None:
        told, seen, places = rows
        self._told = {(((a, b), (c, d), source), teller): n for a, b, c, d, source, teller, n in told}
        self._seen = {epoch: {((a, b), (c, d), source): n for a, b, c, d, source, n in links} for epoch, links in seen}
        self._places = {
            epoch: {((a, b), environment, service): n for a, b, environment, service, n in entries}
            for epoch, entries in places
        }
        self.learn(self._topology.edges(), CONFIGURED)  # it may have changed since


_NOWHERE: frozenset[int] = frozenset()


def _homes(topology: Topology) -> dict[Ref, frozenset[int]]:
    """By subject, the configured services that it is, or is a member of."""
    homes: dict[Ref, frozenset[int]] = {}
    for number, entry in enumerate(topology.services):
        for subject in (Subject(kind=SubjectKind.SERVICE, id=entry.name), *entry.members()):
            ref = ref_of(subject)
            homes[ref] = homes.get(ref, _NOWHERE) | {number}
    return homes


LinkRow = tuple[str, str, str, str, str, int]
ToldRow = tuple[str, str, str, str, str, str, int]
PlaceRow = tuple[str, str, str, str, int]
LinkRows = tuple[list[ToldRow], list[tuple[int, list[LinkRow]]], list[tuple[int, list[PlaceRow]]]]
