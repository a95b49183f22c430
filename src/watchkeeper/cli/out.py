"""What commands print: tables that fit 80 columns for people, JSON for programs, diagnostics for errors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

console = Console(highlight=False, soft_wrap=False)
errors = Console(stderr=True, highlight=False)

WIDTH = 80


def as_json(value: Any) -> None:
    print(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], empty: str) -> None:
    """A plain table; `empty` is said when there is no row."""
    made = Table(box=None, pad_edge=False, show_edge=False, width=min(WIDTH, console.width), header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=column == "id")
    count = 0
    for row in rows:
        made.add_row(*(plain(cell) for cell in row))
        count += 1
    if count:
        console.print(made)
    else:
        console.print(empty)


def plain(text: str) -> str:
    """Text that came from outside, without the control characters that could move a terminal's cursor."""
    return "".join(each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}" for each in text)


def say(text: str, style: str = "") -> None:
    """One or more lines as they are: no markup in them is read."""
    console.print(text, style=style, markup=False, soft_wrap=True)


def clock_time(text: str | None) -> str:
    """`14:03:22` of an instant; `-` of none."""
    return "-" if text is None else datetime.fromisoformat(text).astimezone().strftime("%H:%M:%S")


STATUS_STYLE = {
    "closed": "green",
    "escalated": "bold red",
    "awaiting_approval": "bold yellow",
    "holding": "cyan",
    "acting": "magenta",
}


def status(word: str) -> str:
    style = STATUS_STYLE.get(word, "")
    return f"[{style}]{word}[/]" if style else word
