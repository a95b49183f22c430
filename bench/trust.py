"""The operating curve of trust, simulated with the code that decides: when is a good agent proposed for promotion, how
often a bad one, and what does it change that troubles also heal by themselves?

`python -m bench.trust [--runs N] [--seed S] [--out DIR] [--json]`

An agent's action heals with chance `skill`; else the trouble heals by itself with chance `untreated`. First `SHADOW`
incidents are seen in shadow. Then one outcome a day, approved by people, and after each the criteria are asked, for a
year: so a bad agent gets 365 chances to look good. It does not model agents that get better or worse, outcomes that
depend on each other, or people, who may say no.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.report import Figure, write
from bench.trustpicture import Line, drawn
from watchkeeper.policies.trust.criteria import Asked, criteria
from watchkeeper.policies.trust.evidence import Counts, Evidence
from watchkeeper.policies.trust.posterior import Levels, Tally
from watchkeeper.policies.trust.terms import Terms

SKILLS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.99)
UNTREATED = (0.0, 0.3, 0.5, 0.7, 0.9)
SHADOW = 30
DAYS = 365
TERMS = Terms()
DAILY = 0.5 ** (1 / TERMS.half_life_days)
PICTURE = "trust-curve.svg"


@dataclass(frozen=True)
class Career:
    """After how many outcomes promotion was proposed, by all criteria and by all but those of the untreated rate. None:
    not within the year."""

    with_rule: int | None
    without: int | None


def career(skill: float, untreated: float, seed: str) -> Career:
    """One agent's year."""
    dice = random.Random(seed)
    seen = sum(dice.random() < untreated for _ in range(SHADOW))
    kept, shadow = Tally(), Tally(seen, SHADOW - seen)
    good = bad = 0
    last_failure = -TERMS.calm_days - 1
    without: int | None = None
    for day in range(1, DAYS + 1):
        healed = dice.random() < skill or dice.random() < untreated
        kept = Tally(kept.successes * DAILY + healed, kept.failures * DAILY + (not healed))
        shadow = Tally(shadow.successes * DAILY, shadow.failures * DAILY)
        good, bad = good + healed, bad + (not healed)
        last_failure = last_failure if healed else day
        counts, rollbacks = Counts(good, bad), int(day - last_failure < TERMS.calm_days)
        if counts.n < TERMS.outcomes or rollbacks or good < TERMS.rate * counts.n:
            continue  # what is cheap to see is not asked of the criteria, which would say no
        left = _left(
            Evidence(Levels(kept), counts, counts.n, untreated=shadow, untreated_counts=Counts(seen, SHADOW - seen))
        )
        if without is None and not left - {Asked.BEATS_UNTREATED, Asked.UNTREATED_SEEN}:
            without = day
        if not left:
            return Career(day, without)
    return Career(None, without)


def _left(known: Evidence) -> set[Asked]:
    return {each.name for each in criteria(known, TERMS) if not each.met}


@dataclass(frozen=True)
class Cell:
    """Many agents of one skill, where troubles heal by themselves with one chance."""

    skill: float
    untreated: float
    careers: tuple[Career, ...]

    def share(self, *, rule: bool) -> float:
        return sum(each is not None for each in self._days(rule)) / len(self.careers)

    def median(self, *, rule: bool) -> float | None:
        """Outcomes until promotion, over all agents; None: fewer than half are promoted within the year."""
        days = sorted(DAYS + 1 if each is None else each for each in self._days(rule))
        middle = statistics.median(days)
        return None if middle > DAYS else middle

    def _days(self, rule: bool) -> list[int | None]:
        return [each.with_rule if rule else each.without for each in self.careers]


def simulate(skill: float, untreated: float, runs: int, seed: int) -> Cell:
    found = (career(skill, untreated, f"{seed}/{skill}/{untreated}/{run}") for run in range(runs))
    return Cell(skill, untreated, tuple(found))


def figures(cells: Sequence[Cell]) -> Iterator[Figure]:
    for cell in cells:
        for rule in (True, False):
            name = f"skill_{cell.skill:g}_untreated_{cell.untreated:g}" + ("" if rule else "_without_rule")
            share, n = cell.share(rule=rule), len(cell.careers)
            yield Figure(
                bench="trust",
                metric=f"promoted_{name}",
                ours=round(share, 4),
                unit="share",
                n=n,
                spread=_interval(share, n),
                note=f"within {DAYS} outcomes, one a day, {SHADOW} seen in shadow; 95 % interval",
            )
            middle = cell.median(rule=rule)
            if middle is not None:
                days = [each for each in cell._days(rule) if each is not None]
                yield Figure(
                    bench="trust",
                    metric=f"outcomes_{name}",
                    ours=middle,
                    unit="outcomes",
                    n=n,
                    spread=(min(days), max(days)),
                    note="median until promotion is proposed; the range is that of the promoted",
                )


def _interval(share: float, n: int) -> tuple[float, float]:
    """Wilson's."""
    z = 1.96
    middle, half = share + z * z / (2 * n), z * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    scale = 1 + z * z / n
    return round(max(0.0, (middle - half) / scale), 4), round(min(1.0, (middle + half) / scale), 4)


def picture(cells: Sequence[Cell]) -> str:
    """Share promoted over skill, a line for each chance of healing untreated; with the rule and without."""
    panels = [
        (
            title,
            [
                Line(f"{chance:g}", [(c.skill, c.share(rule=rule)) for c in cells if c.untreated == chance])
                for chance in UNTREATED
            ],
        )
        for title, rule in (("with the untreated-rate rule", True), ("without it", False))
    ]
    return drawn(panels, "chance that the action heals", "promoted within a year", "untreated recovery")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.trust", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="agents of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help=f"where to draw {PICTURE}")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    cells = [simulate(skill, chance, given.runs, given.seed) for chance in UNTREATED for skill in SKILLS]
    write(list(figures(cells)), sys.stdout, as_json=given.json)
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / PICTURE).write_text(picture(cells), encoding="utf-8")


if __name__ == "__main__":
    main()
