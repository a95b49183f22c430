"""Where two policies could differ: every combination of the words that are named in either, and of one that nobody
names, at which some document matches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import NamedTuple

from watchkeeper.core.actions import Intent
from watchkeeper.core.phases import Phase
from watchkeeper.policies.meets import Node
from watchkeeper.policies.model import ANY

OTHER = "(any other)"


class Place(NamedTuple):
    """Where authority is asked for."""

    agent: str
    environment: str
    service: str
    runbook: str
    intent: str
    target_kind: str
    labels: tuple[tuple[str, str], ...]
    phase: Phase | None
    """None: not known, or no document asks."""


class Words:
    """What is named in any document, by dimension."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        matches = [node.document.spec.match for node in nodes]
        self._agents = _named(match.agents for match in matches)
        self._environments = _named(match.environments for match in matches)
        self._services = _named(match.services for match in matches)
        self._runbooks = _named(match.runbooks for match in matches)
        named = _named(match.intents for match in matches)
        self._other = next((each for each in Intent if each.value not in named), None)
        self._intents = named if self._other is not None else named[:-1]
        self._kinds = _named(match.target_kinds for match in matches)
        self._labels = _Labels(match.target_labels for match in matches)
        self._phases = (None, *Phase) if any(match.phases for match in matches) else (None,)

    def of(self, node: Node) -> Iterator[Place]:
        """Every place that the document matches. The first are those without labels."""
        match = node.document.spec.match
        for each in product(
            _those(match.agents, self._agents),
            _those(match.environments, self._environments),
            _those(match.services, self._services),
            _those(match.runbooks, self._runbooks),
            _those(match.intents, self._intents),
            _those(match.target_kinds, self._kinds),
            self._labels,
            _phases(node, self._phases),
        ):
            yield Place(*each)

    def intent(self, place: Place) -> Intent:
        """One that stands for all that are not named, where the place has no name for it."""
        return self._other if place.intent == OTHER and self._other is not None else Intent(place.intent)


def _named(dimension: Iterable[tuple[str, ...] | None]) -> tuple[str, ...]:
    return (*sorted({word for words in dimension for word in words or () if word != ANY}), OTHER)


class _Labels:
    """Of each label that is named: every named value, another one, and none."""

    def __init__(self, matches: Iterable[Mapping[str, tuple[str, ...]]]) -> None:
        self._values: dict[str, set[str]] = {}
        for match in matches:
            for name, words in match.items():
                self._values.setdefault(name, set()).update(word for word in words if word != ANY)

    def __iter__(self) -> Iterator[tuple[tuple[str, str], ...]]:
        each = [[(), *(((name, value),) for value in (*sorted(known), OTHER))] for name, known in self._sorted()]
        return (tuple(pair for pairs in chosen for pair in pairs) for chosen in product(*each))

    def _sorted(self) -> list[tuple[str, set[str]]]:
        return sorted(self._values.items())


def _those(words: tuple[str, ...] | None, every: tuple[str, ...]) -> tuple[str, ...]:
    return every if words is None or words == (ANY,) else words


def _phases(node: Node, every: tuple[Phase | None, ...]) -> tuple[Phase | None, ...]:
    """Those of the document, and for a Limit also the one that is not known."""
    named = node.document.spec.match.phases
    return every if named is None else named if node.grants else (None, *named)
