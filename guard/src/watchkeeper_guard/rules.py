"""The rules as types, indexed for lookup.

It does NOT say whether the rules are wise: of two that contradict each other both are in force, and the stricter wins.
How they are read is in document.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchkeeper_guard.request import Request

ANY = "*"
FIELDS = ("run", "agent", "key", "model", "team", "environment")
"""What a rule may match, the most specific first: by it a rule is looked up, and a hold is named."""
HISTORY = 64
"""How many calls of a run are remembered: no window is longer, and no cycle with its repeats."""


class Mode(StrEnum):
    ENFORCE = "enforce"
    AUDIT = "audit"


class Doubt(StrEnum):
    """What a rule does when it cannot tell: let the call through, or refuse it."""

    OPEN = "open"
    CLOSED = "closed"


class HoldState(StrEnum):
    PAUSED = "paused"
    STOPPED = "stopped"


class Action(StrEnum):
    REFUSE = "refuse"
    MARK = "mark"


class Per(StrEnum):
    REQUEST = "request"
    RUN = "run"


@dataclass(frozen=True)
class Hold:
    """Refuses every call that it matches."""

    state: HoldState


@dataclass(frozen=True)
class Context:
    """The prompt must fit; `max_input_tokens` None: the model's own window, as the gateway knows it."""

    max_input_tokens: int | None
    reserve_output: int = 0
    action: Action = Action.REFUSE


@dataclass(frozen=True)
class Budget:
    """Tokens and money, of one call or of all calls of a run. `assume_output`: tokens of an answer without a bound."""

    per: Per
    max_tokens: int | None = None
    max_micro_usd: int | None = None
    assume_output: int = 1024


@dataclass(frozen=True)
class Iterations:
    max_calls: int


@dataclass(frozen=True)
class Loop:
    """`max_repeats` equal calls among the last `window` of a run; a cycle of 2 to `max_cycle` calls, repeated."""

    max_repeats: int
    window: int = HISTORY
    max_cycle: int = 0
    max_cycle_repeats: int = 3


Limits = Hold | Context | Budget | Iterations | Loop


@dataclass(frozen=True)
class Match:
    """What a rule is about: each exact, or `*`."""

    model: str = ANY
    key: str = ANY
    team: str = ANY
    agent: str = ANY
    run: str = ANY
    environment: str = ANY

    def exact(self) -> Iterator[tuple[str, str]]:
        """The fields that are not `*`, the most specific first."""
        for name in FIELDS:
            value = getattr(self, name)
            if value != ANY:
                yield name, value


@dataclass(frozen=True)
class Rule:
    id: str
    match: Match
    limits: Limits
    mode: Mode = Mode.ENFORCE
    on_doubt: Doubt = Doubt.OPEN
    until: datetime | None = None

    @property
    def needs_run(self) -> bool:
        """Is it about the calls of a run together?"""
        limits = self.limits
        return isinstance(limits, Iterations | Loop) or (isinstance(limits, Budget) and limits.per is Per.RUN)

    def matches(self, request: Request) -> bool:
        return all(value in request.names(name) for name, value in self.match.exact())


_Place = tuple[str, str]
_Entry = tuple[Rule, float, tuple[_Place, ...]]
"""A rule in the index: until when it holds, and what it matches beside the place where it stands."""


@dataclass(frozen=True)
class Rules:
    """One version of the document. `matching` looks at few rules, however many there are."""

    version: int
    digest: str
    rules: tuple[Rule, ...]
    _index: Mapping[_Place, tuple[_Entry, ...]] = field(repr=False, compare=False, default_factory=dict)

    @classmethod
    def of(cls, version: int, digest: str, rules: tuple[Rule, ...]) -> Rules:
        index: dict[_Place, list[_Entry]] = {}
        for rule in rules:
            place, *others = (*rule.match.exact(), (ANY, ANY))
            until = float("inf") if rule.until is None else rule.until.timestamp()
            entry = rule, until, tuple(each for each in others if each != (ANY, ANY))
            index.setdefault(place, []).append(entry)
        return cls(version, digest, rules, {place: tuple(entries) for place, entries in index.items()})

    def matching(self, request: Request, now: float) -> list[Rule]:
        """The rules about this call that are not over, in no particular order."""
        found = list(self._index.get((ANY, ANY), ()))
        for name in FIELDS:
            for value in request.names(name):
                found += self._index.get((name, value), ())
        return [
            rule
            for rule, until, others in found
            if until > now and (not others or all(value in request.names(name) for name, value in others))
        ]
