"""The document of rules (`watchkeeper.dev/guard-rules/v1`), read strictly.

An unknown key, a wrong type or a number out of its bounds is an error that names its place; nothing is guessed. The
digest says that a document is whole, NOT who wrote it: that is the business of the connection it came over.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

from watchkeeper_guard.rules import (
    ANY,
    FIELDS,
    HISTORY,
    Action,
    Budget,
    Context,
    Doubt,
    Hold,
    HoldState,
    Iterations,
    Limits,
    Loop,
    Match,
    Mode,
    Per,
    Rule,
    Rules,
)

API_VERSION = "watchkeeper.dev/guard-rules/v1"
MAX_RULES = 10_000
MAX_NAME = 256
_MOST = 1 << 40
_AMOUNT = re.compile(r"[0-9]{1,6}([.][0-9]{1,6})?", re.ASCII)

Choice = TypeVar("Choice", bound=StrEnum)


class RulesError(ValueError):
    """A document that is not what it should be: `place` says where, `what` says what."""

    def __init__(self, place: str, what: str) -> None:
        super().__init__(f"{place}: {what}")
        self.place, self.what = place, what


def canonical(document: object) -> bytes:
    """RFC 8785 for what a document may hold: text, integers below 2^53, and keys in ASCII."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(document: object) -> str:
    return "sha256:" + hashlib.sha256(canonical(document)).hexdigest()


def parse(document: object) -> Rules:
    """The rules of a document. Raises RulesError at the first mistake."""
    top = _Keys(document, "document")
    if top.text("apiVersion") != API_VERSION:
        raise RulesError("document.apiVersion", f"must be {API_VERSION}")
    version = top.integer("version", low=1, high=(1 << 53) - 1)
    listed = top.take("rules")
    if not isinstance(listed, list):
        raise RulesError("document.rules", "must be a list")
    if len(listed) > MAX_RULES:
        raise RulesError("document.rules", f"at most {MAX_RULES} rules, here are {len(listed)}")
    top.done()
    rules = tuple(_rule(each, f"rules[{number}]") for number, each in enumerate(listed))
    seen: set[str] = set()
    for number, rule in enumerate(rules):
        if rule.id in seen:
            raise RulesError(f"rules[{number}].id", f"{rule.id!r} is there twice")
        seen.add(rule.id)
    return Rules.of(version, digest_of(document), rules)


def loads(text: str | bytes) -> Rules:
    """The same, of JSON text. A key that is there twice is a mistake too."""
    try:
        document = json.loads(text, object_pairs_hook=_no_twins)
    except (ValueError, RecursionError) as error:
        raise RulesError("document", f"not JSON: {error}") from None
    return parse(document)


def _no_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


class _Keys:
    """Takes the keys of one object, each with its type; `done` finds what nobody took."""

    def __init__(self, value: object, place: str) -> None:
        if not isinstance(value, dict):
            raise RulesError(place, "must be an object")
        self._left: dict[str, object] = dict(value)
        self.place = place

    def take(self, name: str, default: object = None) -> object:
        return self._left.pop(name, default)

    def text(self, name: str, default: str | None = None) -> str:
        value = self.take(name, default)
        if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME:
            raise RulesError(f"{self.place}.{name}", f"must be text of 1 to {MAX_NAME} characters")
        return value

    def integer(self, name: str, default: int | None = None, *, low: int, high: int = _MOST) -> int:
        value = self.take(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise RulesError(f"{self.place}.{name}", f"must be an integer from {low} to {high}")
        return value

    def optional_integer(self, name: str, *, low: int) -> int | None:
        return self.integer(name, low=low) if name in self._left else None

    def choice(self, name: str, kind: type[Choice], default: Choice | None = None) -> Choice:
        value = self.take(name, default)
        try:
            return kind(value)  # type: ignore[arg-type]  # anything else than text is refused the same way
        except ValueError:
            raise RulesError(f"{self.place}.{name}", f"must be one of {', '.join(kind)}") from None

    def done(self) -> None:
        if self._left:
            raise RulesError(f"{self.place}.{min(self._left)}", "is not a key that is known here")


def _rule(value: object, place: str) -> Rule:
    keys = _Keys(value, place)
    kind = keys.take("kind")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise RulesError(f"{place}.kind", f"must be one of {', '.join(_READERS)}")
    limits = _Keys(keys.take("limits", {}), f"{place}.limits")
    rule = Rule(
        id=keys.text("id"),
        match=_match(keys.take("match", {}), f"{place}.match"),
        limits=reader(limits),
        mode=keys.choice("mode", Mode, Mode.ENFORCE),
        on_doubt=keys.choice("on_doubt", Doubt, Doubt.OPEN),
        until=_instant(keys.take("until"), f"{place}.until"),
    )
    limits.done()
    keys.done()
    if isinstance(rule.limits, Hold) and next(rule.match.exact(), None) is None:
        raise RulesError(f"{place}.match", "a hold must name what it holds: everything at once is not held by a rule")
    return rule


def _match(value: object, place: str) -> Match:
    keys = _Keys(value, place)
    found = {name: keys.text(name, ANY) for name in FIELDS}
    keys.done()
    return Match(**found)


def _instant(value: object, place: str) -> datetime | None:
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise RulesError(place, "must be an instant with its zone, such as 2026-01-31T12:00:00Z")
    return found.astimezone(UTC)


def _hold(keys: _Keys) -> Limits:
    return Hold(keys.choice("state", HoldState))


def _context(keys: _Keys) -> Limits:
    window = keys.take("max_input_tokens")
    if window != "model" and (not isinstance(window, int) or isinstance(window, bool) or not 0 < window <= _MOST):
        raise RulesError(f"{keys.place}.max_input_tokens", 'must be a number of tokens, or "model"')
    return Context(
        max_input_tokens=window if isinstance(window, int) else None,
        reserve_output=keys.integer("reserve_output", 0, low=0),
        action=keys.choice("action", Action, Action.REFUSE),
    )


def _budget(keys: _Keys) -> Limits:
    found = Budget(
        per=keys.choice("per", Per),
        max_tokens=keys.optional_integer("max_tokens", low=0),
        max_micro_usd=_micro_usd(keys.take("max_usd"), f"{keys.place}.max_usd"),
        assume_output=keys.integer("assume_output", Budget.assume_output, low=0),
    )
    if found.max_tokens is None and found.max_micro_usd is None:
        raise RulesError(keys.place, "a budget needs max_tokens, max_usd or both")
    return found


def _micro_usd(value: object, place: str) -> int | None:
    """Text, not a number: money has no binary fractions, and the canonical form no floats."""
    if value is None:
        return None
    if not isinstance(value, str) or _AMOUNT.fullmatch(value) is None:
        raise RulesError(place, 'must be an amount below a million as text with at most six decimals, such as "0.25"')
    return int(Decimal(value) * 1_000_000)


def _iterations(keys: _Keys) -> Limits:
    return Iterations(keys.integer("max_calls", low=0))


def _loop(keys: _Keys) -> Limits:
    found = Loop(
        max_repeats=keys.integer("max_repeats", low=1, high=HISTORY),
        window=keys.integer("window", Loop.window, low=1, high=HISTORY),
        max_cycle=keys.integer("max_cycle", Loop.max_cycle, low=0, high=16),
        max_cycle_repeats=keys.integer("max_cycle_repeats", Loop.max_cycle_repeats, low=1, high=HISTORY),
    )
    if found.max_repeats > found.window:
        raise RulesError(f"{keys.place}.max_repeats", "is more than the window: it would never be reached")
    if found.max_cycle * found.max_cycle_repeats > HISTORY:
        raise RulesError(f"{keys.place}.max_cycle", f"times max_cycle_repeats is more than the {HISTORY} calls kept")
    return found


_READERS = {"hold": _hold, "context": _context, "budget": _budget, "iterations": _iterations, "loop": _loop}
