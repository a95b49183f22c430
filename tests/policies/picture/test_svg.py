"""The picture: well formed, the same for the same policy, readable without seeing it, bounded."""

from __future__ import annotations

import random
import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.testbed.decisions import a_document, a_grant, a_limit, a_policy

from watchkeeper.core.decisions import Autonomy
from watchkeeper.policies.compile import Policy, compile_policy
from watchkeeper.policies.load import load, pack
from watchkeeper.policies.picture.layout import MAX_ROWS, Drawing, laid_out
from watchkeeper.policies.picture.places import graph
from watchkeeper.policies.picture.svg import DARK, LIGHT, OF_DARK, OF_LIGHT, drawn

DOCS = Path(__file__).parents[3] / "docs"
SVG = "{http://www.w3.org/2000/svg}"
EXAMPLE = compile_policy(load(DOCS / "policy-example.yaml"))


def texts(picture: str) -> list[str]:
    return [each.text or "" for each in ElementTree.fromstring(picture).iter(f"{SVG}text")]


def a_thousand(seed: int = 1) -> Policy:
    rng = random.Random(seed)
    match = {"agents": ["*"], "intents": ["throttle"], "targetKinds": ["key"]}
    some = [
        a_document(
            "Grant",
            f"g{n}",
            match
            | {
                "environments": [f"e{rng.randrange(3)}"],
                "services": [f"s{rng.randrange(60)}"],
                "runbooks": [f"r{rng.randrange(15)}"],
            },
            autonomy=rng.choice(("shadow", "propose", "bounded")),
        )
        for n in range(500)
    ]
    more = [a_limit(f"l{n}", match={"services": [f"s{n % 60}"]}, caps={"maxBlastCount": n}) for n in range(500)]
    return a_policy(*some, *more)


def test_the_example_of_the_docs_is_the_one_that_is_drawn() -> None:
    assert (DOCS / "policy-graph.svg").read_text(encoding="utf-8") == drawn(EXAMPLE)


def test_it_says_what_it_shows_to_those_who_do_not_see_it() -> None:
    root = ElementTree.fromstring(drawn(EXAMPLE))
    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert description is not None
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert re.search(r"\d Grants and \d Limits.* \d+ propose", description.text or "")
    boxes = [each for each in root.iter(f"{SVG}g") if each.get("role") == "graphics-symbol"]
    assert boxes
    assert all((each.find(f"{SVG}title").text or "") for each in boxes)  # type: ignore[union-attr]
    told = texts(drawn(EXAMPLE))
    assert all(any(word.startswith(f"{each}:") for word in told) for each in Autonomy), "no colour without its word"


def test_it_needs_nothing_else_and_has_no_script() -> None:
    picture = drawn(EXAMPLE)
    assert re.findall(r"<script|href|url\(|@import|\bon\w+=", picture) == []
    assert re.findall(r"https?://[^\"]*", picture) == ["http://www.w3.org/2000/svg"]


def test_the_same_policy_gives_the_same_bytes() -> None:
    documents = [node.document for node in EXAMPLE.nodes]
    assert drawn(a_policy(*reversed(documents))) == drawn(EXAMPLE)


@pytest.mark.parametrize(
    ("ink", "paper"), [(LIGHT | dict(OF_LIGHT), LIGHT["paper"]), (DARK | dict(OF_DARK), DARK["paper"])]
)
def test_every_text_stands_out_from_its_paper(ink: dict[str, str], paper: str) -> None:
    """By the contrast that WCAG 2 asks of small text."""
    for name, colour in ink.items():
        if name not in ("paper", "box", "rim"):
            assert contrast(colour, paper) >= 4.5, (name, colour)
            assert contrast(colour, ink["box"]) >= 4.5, (name, colour)


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def lies_within(drawing: Drawing) -> bool:
    return all(
        each.x >= 0 and each.y >= 0 and each.x + each.width <= drawing.width and each.y + each.height <= drawing.height
        for each in drawing.boxes
    )


@pytest.mark.parametrize(
    "policy", [EXAMPLE, a_thousand(), compile_policy(pack("demo"))], ids=["example", "big", "demo"]
)
def test_no_box_covers_another(policy: Policy) -> None:
    drawing = laid_out(graph(policy))
    columns: dict[float, list[tuple[float, float]]] = {}
    for box in drawing.boxes:
        columns.setdefault(box.x, []).append((box.y, box.y + box.height))
    for spans in columns.values():
        spans.sort()
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert lies_within(drawing)


def test_a_thousand_documents_are_folded_and_counted() -> None:
    policy = a_thousand()
    drawing = laid_out(graph(policy))
    assert len(drawing.boxes) <= MAX_ROWS + 4
    whole = graph(policy).root.tally
    folded = [line.text for box in drawing.boxes for line in box.lines if "folded:" in line.text]
    assert sum(int(text.split()[1]) for text in folded) == sum(whole.values())
    assert len(drawn(policy)) < 500_000


def test_a_focus_shows_what_one_path_comes_to_and_who_says_so() -> None:
    picture = drawn(EXAMPLE, "environment=production,service=search,runbook=cap-token-spend")
    told = texts(picture)
    assert any(each.startswith("What this path comes to") for each in told)
    rows = told[told.index(next(each for each in told if each.startswith("What this path"))) + 1 :]
    assert dict(zip(rows[::2], rows[1::2], strict=True)) == {
        "≤ shadow": "limit/paying-customers if tier=paid",
        "touch ≤ 1": "grant/cap-spend",
        "≤ 4 at once": "limit/everywhere",
        "for ≤ 1h": "grant/cap-spend",
        "mon-fri 09:00-17:00 Europe/Berlin": "limit/production-hours",
        "freeze year-end": "limit/everywhere",
    }
    assert any(each.startswith("Several paths") for each in texts(drawn(EXAMPLE, "environment=production")))
    assert "Nothing is granted here, so nothing may be done." in texts(drawn(EXAMPLE, "environment=nowhere"))


def test_names_are_text_whatever_they_hold() -> None:
    name = "</text><script>alert(1)</script>&\x07\ufffe"
    policy = a_policy(a_grant(match={"services": [name]}), a_limit("l", match={"targetLabels": {name: [name]}}))
    root = ElementTree.fromstring(drawn(policy, f"service={name}"))
    assert not list(root.iter(f"{SVG}script"))
    assert any("alert(1)" in (each.text or "") for each in root.iter(f"{SVG}text"))
