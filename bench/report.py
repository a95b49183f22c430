"""A figure and its two forms: one JSON object a line for programs, a table for people.

What could not be measured is not a figure: it is told on stderr and absent from the output.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Self, TextIO

from pydantic import Field
from rich.console import Console
from rich.table import Table

from watchkeeper.core.model import Contract


class Figure(Contract):
    """`ours` against `rivals` on the same work; `n` runs or cases, `spread` their range."""

    bench: str
    metric: str
    ours: float
    unit: str
    rivals: dict[str, float] = Field(default_factory=dict)
    n: int = Field(ge=1)
    spread: tuple[float, float]
    note: str = ""

    @classmethod
    def median(cls, bench: str, metric: str, unit: str, runs: Sequence[float], note: str) -> Self:
        return cls(
            bench=bench,
            metric=metric,
            ours=round(statistics.median(runs), 4),
            unit=unit,
            n=len(runs),
            spread=(round(min(runs), 4), round(max(runs), 4)),
            note=note,
        )


def write(figures: Sequence[Figure], stream: TextIO, *, as_json: bool) -> None:
    if as_json:
        for figure in figures:
            print(figure.model_dump_json(), file=stream)
        return
    table = Table(box=None, pad_edge=False)
    for name in ("metric", "ours", "unit", "n", "range"):
        table.add_column(name, justify="right" if name in ("ours", "n") else "left")
    for figure in figures:
        low, high = figure.spread
        name = f"{figure.bench} {figure.metric}"
        table.add_row(name, f"{figure.ours:g}", figure.unit, str(figure.n), f"{low:g} … {high:g}")
    console = Console(file=stream)
    console.print(table)
    for figure in figures:
        console.print(f"\n{figure.metric}: {figure.note}", style="dim", highlight=False)
