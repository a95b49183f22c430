"""An incident replayed, in 80 columns: each step of its story, what it was made from, and whether it is the same when
it is made again. Pure: from the API's steps to lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from watchkeeper.cli.grounds import made_from
from watchkeeper.cli.out import plain
from watchkeeper.cli.story import ALWAYS_SHOWN, INDENT, Line, evidence_lines, told_lines, wrapped
from watchkeeper.core.entries import ENTRY_DATA, EntryType
from watchkeeper.ledger.replays.again import Again, Made

SHOWN = (*ALWAYS_SHOWN, "request", "reply")
"""Kinds of evidence whose text is an input of its step; a snapshot is told in words."""
_WIDTH = 12
_REASONS = {
    "pruned": "its basis is no longer kept",
    "code": "it was made by other code than this",
    "altered": "its basis is not what was recorded",
    "redacted": "something was redacted from its basis",
    "too_large": "there was no room for all of its basis",
    "not_kept": "what it needs was not kept",
    "unreadable": "this version cannot read it",
}


def lines(steps: Iterable[dict[str, Any]]) -> Iterator[Line]:
    """`steps` are ReplayedSteps as the API gives them."""
    for replayed in steps:
        step = replayed["step"]
        yield from told_lines(step)
        for what, said in _grounds(step, replayed["basis"]):
            yield from _row(f"← {what:<{_WIDTH - 3}} {plain(said)}", "dim")
        for shown in step["evidence"]:
            yield from evidence_lines(shown, with_text=shown["kind"] in SHOWN)
        if replayed["again"] is not None:
            yield from _answer(Again.model_validate(replayed["again"]))


def _grounds(step: dict[str, Any], basis: dict[str, object] | None) -> Iterator[tuple[str, str]]:
    try:
        data = ENTRY_DATA[EntryType(step["type"])].model_validate(step["data"])
    except ValueError:
        return
    yield from made_from(data, basis)


def _answer(again: Again) -> Iterator[Line]:
    match again.made:
        case Made.SAME:
            yield from _row("= made again, the same byte for byte", "green")
        case Made.DIFFERS:
            yield from _row("≠ made again, it differs", "bold red")
            for change in again.paths:
                told = f"{change.path}: recorded {change.recorded or '-'}, again {change.again or '-'}"
                yield from _row("  " + plain(told), "red")
        case Made.NOT_RECOMPUTABLE:
            why = _REASONS.get(again.reason, "it cannot be made again")
            style = "bold red" if again.reason == "altered" else "yellow"
            yield from _row(f"? not recomputable ({again.reason}): {why}", style)


def _row(text: str, style: str) -> Iterator[Line]:
    yield from (Line(each, style) for each in wrapped(text, INDENT, INDENT + " " * _WIDTH))
