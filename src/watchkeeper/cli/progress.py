"""A bar on standard error while something takes long; nothing at all where that is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from watchkeeper.cli import out


@contextmanager
def shown(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """Gives what to call with how much of how much is done; None where nobody would see it."""
    if not out.errors.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(None), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out.errors, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


@contextmanager
def bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """The same where the whole is known before: gives what is told how much is done."""
    with shown(what) as tell:
        yield (lambda done: None) if tell is None else (lambda done: tell(done, total or 1))
