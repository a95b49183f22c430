"""A bar for work that takes its time: on a terminal only, on standard error, gone when the work is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from watchkeeper.cli import out


@contextmanager
def bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Gives what is told how much of `total` is done. Says nothing where nobody looks."""
    if not out.errors.is_terminal:
        yield lambda done: None
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out.errors, transient=True) as progress:
        task = progress.add_task(what, total=total or 1)
        yield lambda done: progress.update(task, completed=done)
