"""ledger export."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client


class Form(StrEnum):
    """The export's formats, by the words of the API."""

    JSONL = "jsonl"
    TILES = "tiles"
    BOTH = "both"


def register(app: typer.Typer) -> None:
    app.command("export")(export)


def export(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(help="A new or empty directory.")],
    form: Annotated[
        Form, typer.Option("--format", help="Entries as lines, as tiles that any file server can serve, or both.")
    ] = Form.BOTH,
    json: Json = False,
) -> None:
    """Everything that is signed, as files that anybody can verify without us."""
    from watchkeeper.cli import unpack

    unpack.prepare(directory)
    with client(context).pieces("/v1/ledger/export", form=form.value) as pieces, bar(form) as seen:
        files = unpack.unpack(pieces, directory, seen)
    if json:
        out.as_json({"directory": str(directory), "files": files, "format": form.value})
        return
    out.say(f"exported to {directory}")
    out.say(f"verify it anywhere: watchkeeper ledger verify --export {directory} --vkey KEY")


@contextmanager
def bar(form: Form) -> Iterator[Callable[[str, bytes], None]]:
    """Progress by entries, on a terminal alone. `both` brings each entry twice."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out.errors, transient=True, disable=not out.errors.is_terminal) as bar:
        counter, times = _Counter(), 2 if form is Form.BOTH else 1
        task = bar.add_task("entries", total=None)

        def seen(name: str, piece: bytes) -> None:
            counter.saw(name, piece)
            bar.update(task, completed=counter.done, total=times * counter.total or None)

        yield seen


@dataclass
class _Counter:
    """What the pieces of an export say of how many entries there are, and how many have come."""

    total: int = 0
    done: int = 0
    _last: str = ""

    def saw(self, name: str, piece: bytes) -> None:
        words = piece.split(b"\n", 2)
        if name == "checkpoint" and len(words) > 1 and words[1].isdigit():
            self.total = int(words[1])
        elif name == "start" and words[0].isdigit():
            self.total -= int(words[0])
        elif name == "entries.jsonl":
            self.done += piece.count(b"\n")
        elif name.startswith("tile/entries/") and name != self._last:
            width = name.partition(".p/")[2]
            self.done += int(width) if width.isdigit() else 256
        self._last = name
