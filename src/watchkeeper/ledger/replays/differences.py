"""Where two JSON values differ, path by path: what was recorded beside what was made again.

Lists of one length are held against each other place by place; of lists of different lengths the parts that are alike
are found first, so that one step too many does not make every later step another one. It says where, not why.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import islice

from pydantic import JsonValue

from watchkeeper.core.canonical import canonical
from watchkeeper.core.model import Contract

MAX_PATHS = 20
MAX_SHOWN = 400
"""Characters of a value that are shown."""
ABSENT = ""


class PathChange(Contract):
    """`path` as `decision.walk[13:rate].passed`; the values as canonical JSON, cut where long, empty where absent."""

    path: str
    recorded: str
    again: str


def differences(recorded: JsonValue, again: JsonValue) -> tuple[PathChange, ...]:
    """The first MAX_PATHS of them."""
    return tuple(islice(_between(recorded, again, ""), MAX_PATHS))


def _between(one: JsonValue, other: JsonValue, path: str) -> Iterator[PathChange]:
    match one, other:
        case dict(), dict():
            for name in sorted({*one, *other}):
                below = f"{path}.{name}" if path else name
                if name not in one or name not in other:
                    yield PathChange(path=below, recorded=_at(one, name), again=_at(other, name))
                else:
                    yield from _between(one[name], other[name], below)
        case list(), list():
            yield from _lists(one, other, path)
        case _ if canonical(one) != canonical(other):
            yield PathChange(path=path, recorded=_shown(one), again=_shown(other))


def _lists(one: list[JsonValue], other: list[JsonValue], path: str) -> Iterator[PathChange]:
    ours, theirs = ([canonical(each) for each in some] for some in (one, other))
    matcher = SequenceMatcher(None, ours, theirs, autojunk=False)
    for tag, first, last, start, end in matcher.get_opcodes():
        if tag == "equal":
            continue
        for offset in range(max(last - first, end - start)):
            here, there = first + offset, start + offset
            if here < last and there < end:
                yield from _between(one[here], other[there], f"{path}[{_label(here, one[here])}]")
            elif here < last:
                yield PathChange(path=f"{path}[{_label(here, one[here])}]", recorded=_shown(one[here]), again=ABSENT)
            else:
                name = f"{path}[{_label(there, other[there])}]"
                yield PathChange(path=name, recorded=ABSENT, again=_shown(other[there]))


def _label(place: int, item: JsonValue) -> str:
    """A step of a walk is known by its gate."""
    gate = item.get("gate") if isinstance(item, dict) else None
    return f"{place}:{gate}" if isinstance(gate, str) else str(place)


def _at(value: dict[str, JsonValue], name: str) -> str:
    return _shown(value[name]) if name in value else ABSENT


def _shown(value: JsonValue) -> str:
    text = canonical(value).decode()
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."
