"""Sums per subject and time bucket, fine for the horizon and in coarser steps for the history.

A subject has two ledgers of cells: `main`, where one call surely counts once, and `spare`, reports that could not be
matched to a gateway's (or, for agents, an agent's) view. The spare one is read only while the main one holds nothing
from the authoritative view; otherwise the same call could count twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pydantic import JsonValue

from watchkeeper.signals.state.config import StateConfig
from watchkeeper.signals.state.evictions import Evictions
from watchkeeper.signals.state.instants import seconds_us
from watchkeeper.signals.state.refs import Ref
from watchkeeper.signals.state.tally import CALLS, COST, ESTIMATED, PRIMARY, SEEN, TOKENS, Cell, Deltas, StepSums

Cells = dict[int, Cell]


@dataclass(slots=True)
class Series:
    """`main` and `spare` by fine bucket; `old_main` and `old_spare` by step, older than the horizon."""

    main: Cells = field(default_factory=dict)
    spare: Cells = field(default_factory=dict)
    old_main: Cells = field(default_factory=dict)
    old_spare: Cells = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return not (self.main or self.spare or self.old_main or self.old_spare)

    @property
    def authoritative(self) -> bool:
        """Whether the view that counts best has spoken of this subject."""
        return any(cell.sums[PRIMARY] for cells in (self.main, self.old_main) for cell in cells.values())

    def ledgers(self) -> tuple[tuple[Cells, Cells], ...]:
        """(fine, old) pairs that count."""
        both = ((self.main, self.old_main), (self.spare, self.old_spare))
        return both[:1] if (self.spare or self.old_spare) and self.authoritative else both

    def last(self, per_step: int) -> int:
        """The last bucket with anything in it."""
        fine = max((max(cells) for cells in (self.main, self.spare) if cells), default=-1)
        old = max((max(cells) for cells in (self.old_main, self.old_spare) if cells), default=-1)
        return max(fine, old * per_step)


class Windows:
    def __init__(self, config: StateConfig, evictions: Evictions) -> None:
        self._evictions = evictions
        self.bucket_us = seconds_us(config.bucket_s)
        self.step_us = seconds_us(config.step_s)
        self.per_step = self.step_us // self.bucket_us
        self._horizon_us, self._history_us = seconds_us(config.horizon_s), seconds_us(config.history_s)
        self._max_subjects = config.max_subjects
        self._series: dict[Ref, Series] = {}

    def add(self, ref: Ref, main: bool, bucket: int, deltas: Deltas, latency: int, sign: int) -> None:
        series = self._series.get(ref)
        if series is None:
            if sign < 0:
                return  # the subject was let go since
            series = self._series[ref] = Series()
            if len(self._series) > self._max_subjects:
                self._evict(ref)
        cells = series.main if main else series.spare
        cell = cells.get(bucket)
        if cell is None:
            if sign < 0:
                return
            cell = cells[bucket] = Cell()
        cell.add(deltas, latency, sign)
        if sign < 0 and cell.sums[SEEN] <= 0:
            del cells[bucket]
            if series.empty:
                del self._series[ref]

    def _evict(self, keep: Ref) -> None:
        """Lets the twentieth part go that has been silent longest."""
        count = max(1, self._max_subjects // 20)
        order = sorted((series.last(self.per_step), ref) for ref, series in self._series.items() if ref != keep)
        for _, ref in order[:count]:
            del self._series[ref]
        self._evictions.add("subject", "max_subjects", min(count, len(order)))

    def prune(self, now_us: int) -> None:
        """Adds up what is older than the horizon into steps, and forgets what is older than the history."""
        fine = (now_us - self._horizon_us) // self.step_us * self.per_step
        old = (now_us - self._history_us) // self.step_us
        for ref, series in list(self._series.items()):
            for cells, steps in ((series.main, series.old_main), (series.spare, series.old_spare)):
                self._fold(cells, steps, fine)
                for step in [step for step in steps if step < old]:
                    del steps[step]
            if series.empty:
                del self._series[ref]

    def _fold(self, cells: Cells, steps: Cells, before: int) -> None:
        for bucket in [bucket for bucket in cells if bucket < before]:
            cell = cells.pop(bucket)
            cell.latency.clear()  # percentiles are read within the horizon only
            steps.setdefault(bucket // self.per_step, Cell()).merge(cell)

    def known(self, kind: str) -> list[Ref]:
        return sorted(ref for ref in self._series if ref[0] == kind)

    def cells(self, ref: Ref, first: int, last: int) -> Iterator[tuple[int, Cell]]:
        """The fine cells of buckets `first` to `last`, inclusive, in no order; one bucket may come twice."""
        series = self._series.get(ref)
        if series is None:
            return
        for fine, _ in series.ledgers():
            if last - first < len(fine):
                yield from ((bucket, fine[bucket]) for bucket in range(first, last + 1) if bucket in fine)
            else:
                yield from ((bucket, cell) for bucket, cell in fine.items() if first <= bucket <= last)

    def steps(self, ref: Ref) -> dict[int, StepSums]:
        """The sums of every step with traffic, history and horizon together."""
        series = self._series.get(ref)
        totals: dict[int, StepSums] = {}
        if series is None:
            return totals
        for fine, old in series.ledgers():
            for cells, divide in ((old, 1), (fine, self.per_step)):
                for index, cell in cells.items():
                    sums = cell.sums
                    calls, tokens, cost, estimated = totals.get(index // divide, (0, 0, 0, 0))
                    totals[index // divide] = (
                        calls + sums[CALLS],
                        tokens + sums[TOKENS],
                        cost + sums[COST],
                        estimated + sums[ESTIMATED],
                    )
        return totals

    def dump(self) -> JsonValue:
        rows: list[JsonValue] = []
        for ref in sorted(self._series):
            series = self._series[ref]
            cells = (series.main, series.old_main, series.spare, series.old_spare)
            rows.append([*ref, *(_cells(each) for each in cells)])
        return rows

    def load(self, rows: list[SeriesRow]) -> None:
        self._series = {
            (kind, id_): Series(
                main=_uncells(main), old_main=_uncells(old_main), spare=_uncells(spare), old_spare=_uncells(old_spare)
            )
            for kind, id_, main, old_main, spare, old_spare in rows
        }


CellRows = list[tuple[int, list[tuple[int, int]], list[tuple[int, int]]]]
"""(bucket, (place, sum) of all that are not 0, (latency bin, count))."""
SeriesRow = tuple[str, str, CellRows, CellRows, CellRows, CellRows]
"""(kind, id, main, old main, spare, old spare)."""


def _cells(cells: Cells) -> JsonValue:
    return [
        [
            index,
            [[place, amount] for place, amount in enumerate(cell.sums) if amount],
            [[latency, count] for latency, count in sorted(cell.latency.items())],
        ]
        for index, cell in sorted(cells.items())
    ]


def _uncells(rows: CellRows) -> Cells:
    cells: Cells = {}
    for index, sums, latency in rows:
        cell = cells[index] = Cell()
        for place, amount in sums:
            cell.sums[place] = amount
        cell.latency = dict(latency)
    return cells
