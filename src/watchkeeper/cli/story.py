"""An incident's story in 80 columns: what was seen, what it concluded and why, what policy said gate by gate, every
call, and what came of it. Pure: from the API's steps to lines.

It shows what was recorded. Text from outside is shown as text: control characters are taken out, and nothing in it is
markup.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from watchkeeper.cli import tell
from watchkeeper.cli.out import WIDTH, plain
from watchkeeper.cli.rulemessages import told_messages
from watchkeeper.core.entries import ENTRY_DATA, EntryType

INDENT = " " * 10
ALWAYS_SHOWN = ("prompt", "comment")
"""Kinds of evidence whose text belongs to the story; the others are named, and shown when asked for."""

_STYLES = {
    "seen": "yellow",
    "concluded": "cyan",
    "proposed": "blue",
    "decided": "magenta",
    "consent": "bold yellow",
    "called": "dim",
    "verified": "green",
    "handed_over": "bold red",
    "closed": "bold green",
}


@dataclass(frozen=True)
class Line:
    text: str
    style: str = ""


def lines(steps: Iterable[dict[str, Any]], *, evidence: bool) -> Iterator[Line]:
    """`steps` are StorySteps as the API gives them. `evidence` shows every body that is still there."""
    for step in steps:
        yield from told_lines(step)
        for shown in step["evidence"]:
            yield from evidence_lines(shown, with_text=evidence or shown["kind"] in ALWAYS_SHOWN)


def told_lines(step: dict[str, Any]) -> Iterator[Line]:
    """What the step says: its time and part, its headline, its details."""
    headline, *details = _told(step)
    at = datetime.fromisoformat(step["at"]).astimezone().strftime("%H:%M:%S")
    head = f"{step['part'].replace('_', ' ').upper():<12}{plain(headline)}"
    first, *more = wrapped(head, at + "  ", INDENT + " " * 12)
    yield Line(first, _STYLES.get(step["part"], ""))
    yield from (Line(each, _STYLES.get(step["part"], "")) for each in more)
    for detail in (*details, *told_messages(step.get("messages", ()))):
        yield from (Line(each) for each in wrapped(plain(detail), INDENT, INDENT + "    "))


def _told(step: dict[str, Any]) -> list[str]:
    try:
        data = ENTRY_DATA[EntryType(step["type"])].model_validate(step["data"])
    except ValueError:
        return [f"{step['type']} (of another version; see --json)"]
    return list(tell.told(data))


def evidence_lines(shown: dict[str, Any], *, with_text: bool) -> Iterator[Line]:
    gone = ""
    if shown.get("altered"):
        gone = ", ALTERED since it was recorded"
    elif shown["text"] is None:
        gone = ", erased" if shown.get("gone") == "erased" else ", no longer kept"
    name = shown["commitment"].removeprefix("hmac-sha256:")[:12]
    yield Line(f"{INDENT}evidence: {shown['kind']} {name}, {shown['size']} bytes{gone}", "dim")
    if with_text and shown["text"] is not None:
        for row in plain(shown["text"]).splitlines():
            yield from (Line(each, "dim") for each in wrapped(row, INDENT + "│ ", INDENT + "│ "))
        if shown["cut"]:
            yield Line(f"{INDENT}│ … the rest is left out", "dim")


def wrapped(text: str, first: str, rest: str) -> list[str]:
    indented = len(text) - len(text.lstrip())
    return textwrap.wrap(
        text.lstrip(), WIDTH, initial_indent=first + " " * indented, subsequent_indent=rest, break_on_hyphens=False
    ) or [first]
