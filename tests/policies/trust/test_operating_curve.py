"""The curve that docs/trust.md shows, held by the simulation that draws it: a bad agent is proposed no more often."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bench.trust import SKILLS, UNTREATED, Cell, figures, picture, simulate

DOCS = Path(__file__).parents[3] / "docs"
RUNS = 200


def documented(rule: bool) -> dict[tuple[float, float], float]:
    """(skill, untreated) → the share that the page gives."""
    page = (DOCS / "trust.md").read_text(encoding="utf-8")
    title = "**Proposed for promotion within a year**" if rule else "`untreated_seen` and `beats_untreated`**"
    table = page.split(title)[1].split("**")[0]
    rows = re.findall(r"^\| ([0-9.]+) \| (.*%) \|$", table, re.MULTILINE)
    return {
        (float(skill), untreated): float(share.strip(" %")) / 100
        for skill, shares in rows
        for untreated, share in zip(UNTREATED, shares.split("|"), strict=True)
    }


@pytest.mark.parametrize(("skill", "untreated"), [(0.0, 0.9), (0.5, 0.7), (0.6, 0.0), (0.8, 0.0), (0.8, 0.3)])
def test_a_bad_agent_is_proposed_at_most_as_often_as_the_page_says(skill: float, untreated: float) -> None:
    """Within three standard deviations, and one more."""
    expected = documented(rule=True)[skill, untreated]
    found = simulate(skill, untreated, RUNS, seed=2).share(rule=True) * RUNS
    assert found <= RUNS * expected + 3 * (RUNS * expected) ** 0.5 + 1


def test_a_good_agent_is_proposed_and_soon() -> None:
    cell = simulate(0.99, 0.3, RUNS, seed=2)
    assert cell.share(rule=True) >= 0.95
    assert cell.median(rule=True) == 30


def test_the_rule_keeps_the_useless_out_where_most_heals_by_itself() -> None:
    cell = simulate(0.0, 0.9, RUNS, seed=2)
    assert cell.share(rule=True) < cell.share(rule=False)


def test_the_page_has_every_kind_of_agent() -> None:
    every = {(skill, untreated) for skill in SKILLS for untreated in UNTREATED}
    assert documented(rule=True).keys() == documented(rule=False).keys() == every


def test_the_figures_and_the_picture_are_well_formed() -> None:
    cells: list[Cell] = [simulate(skill, chance, 3, seed=1) for chance in UNTREATED for skill in (0.5, 0.99)]
    metrics = [each.metric for each in figures(cells)]
    assert len(metrics) == len(set(metrics)) >= 20
    assert ElementTree.fromstring(picture(cells)).tag.endswith("svg")
    assert ElementTree.parse(DOCS / "trust-curve.svg").getroot().tag.endswith("svg")
