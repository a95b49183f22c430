"""Where a policy gives authority: organisation, environment, service, action and agent, each with the documents that
are placed there and what is left in the end. Pure.

A level has the words that any document names which still matches, and one for all that nobody names; words that come to
the same are one place. Where nothing is granted there is no place. What only the target's labels or the service's phase
decide is told as a condition, not taken apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from watchkeeper.core.actions import Intent
from watchkeeper.core.decisions import Autonomy
from watchkeeper.core.errors import InputError, PolicyError, suggest
from watchkeeper.policies.compile import Policy, positions
from watchkeeper.policies.meets import Meet, Node, meet_of
from watchkeeper.policies.model import ANY
from watchkeeper.policies.terms import Key, Term

MAX_DOCUMENTS = 1000
MAX_PLACES = 20_000


class Level(IntEnum):
    ORGANISATION = 0
    ENVIRONMENT = 1
    SERVICE = 2
    ACTION = 3
    AGENT = 4


class Dimension(NamedTuple):
    """A field of `match` that places are made of. `key`: what it is called in a focus."""

    key: str
    field: str
    level: Level


DIMENSIONS = (
    Dimension("environment", "environments", Level.ENVIRONMENT),
    Dimension("service", "services", Level.SERVICE),
    Dimension("runbook", "runbooks", Level.ACTION),
    Dimension("intent", "intents", Level.ACTION),
    Dimension("targetKind", "target_kinds", Level.ACTION),
    Dimension("agent", "agents", Level.AGENT),
)
_FIELDS = {each.field for each in DIMENSIONS}
Focus = Mapping[str, str]
"""The word of a dimension, by its key: nothing else is looked at."""


class Names(NamedTuple):
    """What a dimension has here: these words, or without any of them all there are, or all `other` than its
    siblings."""

    words: tuple[str, ...] = ()
    other: bool = False

    def __str__(self) -> str:
        return ", ".join(self.words) or ("any other" if self.other else "any")


class Placed(NamedTuple):
    """A document, and what else of the target it asks for, like `tier=free`."""

    node: Node
    condition: str


@dataclass(frozen=True)
class Left:
    """What the documents of one place come to. `given`: the widest that a Grant there gives; `by`: who sets what is
    `left` of it; `least`: what is left when every condition holds; `sure`: a Grant there has no condition."""

    given: Autonomy
    left: Autonomy
    by: str
    least: Autonomy
    sure: bool
    met: Meet


@dataclass(frozen=True)
class Place:
    """`names`: one for each dimension of the level. `left` is that of an agent's place; `tally` counts those below."""

    level: Level
    names: tuple[Names, ...]
    documents: tuple[Placed, ...]
    below: tuple[Place, ...]
    left: Left | None
    tally: Mapping[Autonomy, int]


class Graph(NamedTuple):
    """`idle`: the documents that match no place, so they narrow nothing."""

    version: str
    grants: int
    limits: int
    root: Place
    idle: tuple[Node, ...]


def read_focus(text: str) -> Focus:
    """`service=chat,agent=remediator/litellm`. Raises InputError."""
    keys = [each.key for each in DIMENSIONS]
    found: dict[str, str] = {}
    for pair in filter(None, text.split(",")):
        key, equals, word = pair.strip().partition("=")
        if key not in keys or not equals or not word or key in found:
            raise InputError(
                f"cannot read the focus {pair[:60]!r}{'' if key in keys else suggest(key, keys)}",
                cause="it is no KEY=WORD, or a key is written twice",
                next_step="--focus service=chat,agent=remediator/litellm; keys are " + ", ".join(keys),
            )
        found[key] = word
    return found


def graph(policy: Policy, focus: Focus | None = None) -> Graph:
    """Raises PolicyError for a policy that is too large to be drawn."""
    look = _Look(policy.nodes, focus or {})
    start = look.start()
    if start.bit_count() > MAX_DOCUMENTS:
        raise _too_large(f"{start.bit_count()} documents; at most {MAX_DOCUMENTS} are drawn")
    root = look.place(Level.ORGANISATION, (), start)
    seen = look.seen
    return Graph(
        version=policy.version,
        grants=sum(node.grants for node in policy.nodes),
        limits=sum(not node.grants for node in policy.nodes),
        root=root,
        idle=tuple(node for at, node in enumerate(policy.nodes) if not seen >> at & 1),
    )


class _Look:
    """Documents are bits, as when a policy is matched. `seen`: those that match some place."""

    def __init__(self, nodes: tuple[Node, ...], focus: Focus) -> None:
        self._nodes, self._focus = nodes, focus
        self._words = [[_named(node, each.field) for node in nodes] for each in DIMENSIONS]
        self._masks = [_masks(words) for words in self._words]
        self._grants = sum(1 << at for at, node in enumerate(nodes) if node.grants)
        self._placed = [Placed(node, _condition(node)) for node in nodes]
        self._levels = [
            max((each.level for each in DIMENSIONS if _named(node, each.field)), default=Level.ORGANISATION)
            for node in nodes
        ]
        self._made: dict[int, Left] = {}
        self._visited = 0
        self.seen = 0

    def start(self) -> int:
        """The documents that can match within the focus."""
        found = (1 << len(self._nodes)) - 1
        for at, each in enumerate(DIMENSIONS):
            if each.key in self._focus:
                found = self._admitting(at, found, self._focus[each.key])
        return found

    def place(self, level: Level, names: tuple[Names, ...], live: int) -> Place:
        self._visited += 1
        if self._visited > MAX_PLACES:
            raise _too_large(f"more than {MAX_PLACES} places")
        below: tuple[Place, ...] = ()
        left = None
        if level is Level.AGENT:
            left = self._left(live)
            tally = Counter({left.left: 1})
            self.seen |= live
        else:
            next_level = Level(level + 1)
            below = tuple(self.place(next_level, named, some) for named, some in self._split(next_level, live))
            tally = sum((Counter(each.tally) for each in below), Counter())
        documents = tuple(self._placed[at] for at in positions(live) if self._levels[at] is level)
        return Place(level, names, documents, below, left, tally)

    def _split(self, level: Level, live: int) -> Iterator[tuple[tuple[Names, ...], int]]:
        """By all dimensions of a level, one after another."""
        found: list[tuple[tuple[Names, ...], int]] = [((), live)]
        for at, each in enumerate(DIMENSIONS):
            if each.level is level:
                found = [((*names, named), few) for names, some in found for named, few in self._by(at, some)]
                if len(found) > MAX_PLACES:
                    raise _too_large(f"more than {MAX_PLACES} places")
        yield from found

    def _by(self, at: int, live: int) -> list[tuple[Names, int]]:
        """The words of one dimension, those that come to the same together; without those where nothing is granted."""
        if word := self._focus.get(DIMENSIONS[at].key):
            return [(Names((word,)), live)] if live & self._grants else []
        words = sorted({word for document in positions(live) for word in self._words[at][document] or ()})
        by_live: dict[int, list[str]] = {}
        for word in words:
            by_live.setdefault(self._admitting(at, live, word), []).append(word)
        all_named = DIMENSIONS[at].field == "intents" and len(words) == len(Intent)
        rest = 0 if all_named else live & self._masks[at].whole
        by_live.pop(rest, None)
        found = [(Names(tuple(same)), some) for some, same in by_live.items() if some & self._grants]
        return [*found, (Names(other=bool(by_live)), rest)] if rest & self._grants else found

    def _admitting(self, at: int, live: int, word: str) -> int:
        masks = self._masks[at]
        return live & (masks.whole | masks.only.get(word, 0))

    def _left(self, live: int) -> Left:
        if live not in self._made:
            self._made[live] = left_of([self._placed[at] for at in positions(live)])
        return self._made[live]


def left_of(documents: Iterable[Placed]) -> Left:
    """Of documents in order of name, a Grant among them."""
    every = list(documents)
    whole = meet_of(each.node for each in every)
    plain = meet_of(each.node for each in every if not each.condition)
    sure = bool(plain.grants)
    met = plain if sure else whole
    given = max((each.node.document.spec.autonomy or Autonomy.NONE for each in every if each.node.grants), key=_rank)
    return Left(given, met.autonomy, met.terms[Key(Term.AUTONOMY)].node, whole.autonomy, sure, whole)


def _rank(autonomy: Autonomy) -> int:
    return autonomy.rank


def _named(node: Node, field: str) -> tuple[str, ...] | None:
    """None: whatever it is."""
    words: tuple[str, ...] | None = getattr(node.document.spec.match, field)
    return None if words is None or words == (ANY,) else words


class _Masks(NamedTuple):
    """The documents that admit every word of a dimension, and those that admit a word by its name."""

    whole: int
    only: Mapping[str, int]


def _masks(named: list[tuple[str, ...] | None]) -> _Masks:
    whole, only = 0, dict[str, int]()
    for at, words in enumerate(named):
        if words is None:
            whole |= 1 << at
        for word in words or ():
            only[word] = only.get(word, 0) | 1 << at
    return _Masks(whole, only)


def _condition(node: Node) -> str:
    """What the document asks for beside the dimensions that places are made of."""
    match = node.document.spec.match
    told = [f"{name}={'|'.join(words)}" for name, words in sorted(match.target_labels.items())]
    for name, field in type(match).model_fields.items():
        if name not in _FIELDS and name != "target_labels" and (words := _named(node, name)):
            told.append(f"{field.alias}={'|'.join(words)}")
    return ", ".join(told)


def _too_large(what: str) -> PolicyError:
    return PolicyError(
        f"the policy is too large to be drawn whole: {what}",
        cause="a picture of it would be larger than anybody reads",
        next_step="draw a part: watchkeeper policy graph --focus environment=production,service=chat",
    )
