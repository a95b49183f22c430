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

    def holds_at(self, now: float) -> bool:
        return self.until is None or self.until.timestamp() > now

    def matches(self, request: Request) -> bool:
        return all(value in request.names(name) for name, value in self.match.exact())


@dataclass(frozen=True)
class Rules:
    """One version of the document. `matching` looks at few rules, however many there are."""

    version: int
    digest: str
    rules: tuple[Rule, ...]
    _index: Mapping[tuple[str, str], tuple[Rule, ...]] = field(repr=False, compare=False, default_factory=dict)

    @classmethod
    def of(cls, version: int, digest: str, rules: tuple[Rule, ...]) -> Rules:
        index: dict[tuple[str, str], tuple[Rule, ...]] = {}
        for rule in rules:
            place = next(rule.match.exact(), (ANY, ANY))
            index[place] = (*index.get(place, ()), rule)
        return cls(version, digest, rules, index)

    def matching(self, request: Request, now: float) -> list[Rule]:
        """The rules about this call that are not over, in no particular order."""
        found = list(self._index.get((ANY, ANY), ()))
        for name in FIELDS:
            for value in request.names(name):
                found += self._index.get((name, value), ())
        return [rule for rule in found if rule.holds_at(now) and rule.matches(request)]
