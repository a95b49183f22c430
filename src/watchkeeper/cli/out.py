"""What commands print: tables that fit 80 columns for people, JSON for programs, diagnostics for errors.

Text is text: no markup is read in anything that is printed here, since much of it comes from outside; what has a style
is a `Text`. Characters that could move a terminal's cursor are taken out.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from watchkeeper.core.errors import InputError, WatchkeeperError

console = Console(highlight=False, markup=False, emoji=False)
errors = Console(stderr=True, highlight=False, markup=False, emoji=False)

WIDTH = 80
YAML_WIDTH = 64
"""The emitter breaks a line only after it has passed its width, by up to a word."""


def as_json(value: Any) -> None:
    print(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False))


def whole(text: str, to: Path | None) -> None:
    """To a file that is replaced, or as it is to standard output, for another program. Raises InputError."""
    if to is None:
        print(text, end="")
        return
    try:
        to.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot write: {error.strerror}",
            place=str(to),
            cause="the folder does not exist, or this user may not write there",
            next_step="give another --out",
        ) from error


def table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]], empty: str) -> None:
    """A plain table; `empty` is said when there is no row."""
    made = Table(box=None, pad_edge=False, show_edge=False, width=min(WIDTH, console.width), header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=column == "id")
    count = 0
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else plain(cell) for cell in row))
        count += 1
    if count:
        console.print(made)
    else:
        console.print(empty)


def plain(text: str) -> str:
    """Text that came from outside, without the control characters that could move a terminal's cursor."""
    return "".join(each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}" for each in text)


def say(text: str | Text, style: str = "", *, into: Console = console) -> None:
    """One or more lines as they are."""
    into.print(text if isinstance(text, Text) else plain(text), style=style, soft_wrap=True)


def wrapped(text: str) -> str:
    """Lines of at most 80 columns, broken between words only: a path or a digest stays whole."""
    return "\n".join(row for line in text.splitlines() for row in _rows(line))


def _rows(line: str) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.wrap(
        line.lstrip(),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    ) or [line]


def failure(error: WatchkeeperError, json_wanted: bool) -> None:
    """On standard error: what happened, the likely cause and the next command, or the same as JSON."""
    if json_wanted:
        told = {
            "code": error.code,
            "what": error.what,
            "cause": error.cause,
            "next": error.next_step,
            "place": error.place,
        }
        say(json.dumps(told, indent=2, sort_keys=True, ensure_ascii=False), into=errors)
    else:
        told_all = plain(wrapped(f"error {error.diagnostics()}"))
        say(Text.assemble(("error ", "bold red"), told_all.removeprefix("error ")), into=errors)


def clock_time(text: str | None) -> str:
    """`14:03:22` of an instant; `-` of none."""
    return "-" if text is None else datetime.fromisoformat(text).astimezone().strftime("%H:%M:%S")


def day_time(text: str) -> str:
    """`2026-01-02 14:03` of an instant."""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M")


STATUS_STYLE = {
    "closed": "green",
    "escalated": "bold red",
    "awaiting_approval": "bold yellow",
    "holding": "cyan",
    "acting": "magenta",
}


def status(word: str) -> Text:
    return Text(word, style=STATUS_STYLE.get(word, ""))
