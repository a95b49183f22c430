"""Boxes and lines: a graph of places laid out from left to right, in columns, with a list of bounds under it. Pure.

A level that would need more than `MAX_ROWS` rows is folded into the one before it, and told there by its numbers. A
text that does not fit is cut; the box's tooltip has it whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from textwrap import wrap
from typing import NamedTuple

from watchkeeper.core.decisions import Autonomy
from watchkeeper.policies.picture.places import Graph, Left, Level, Place, Placed
from watchkeeper.policies.picture.wording import asked, asks, in_short

MAX_ROWS = 200
MAX_TOLD = 4
"""Documents named in one box; the number of the others is."""
MAX_IDLE = 12
MAX_TOOLTIP = 40
MARGIN, GAP, BETWEEN, PAD, LINE, CHAR, SMALL = 24, 44, 12, 10, 17, 7.25, 6.65
WIDTHS = {
    Level.ORGANISATION: 215,
    Level.ENVIRONMENT: 235,
    Level.SERVICE: 235,
    Level.ACTION: 245,
    Level.AGENT: 345,
}
HEAD, MIN_WIDTH = 92, 1120
ASIDE = 16
_ASIDE = ("grant", "limit", "left", "asks")
_NOT_TOLD_TWICE = ("grant", "limit", "asks", "more")
_NAMES = {Level.ENVIRONMENT: "environment", Level.SERVICE: "service", Level.ACTION: "runbook", Level.AGENT: "agent"}


class Line(NamedTuple):
    """A line of a box. `kind` is its style: `level`, `name`, `detail`, `left`, `grant`, `limit`,
    `asks` or `more`."""

    kind: str
    text: str
    colour: Autonomy | None = None


@dataclass(frozen=True)
class Box:
    """`autonomy`: the widest that is left here. `tooltip`: all that it says, uncut."""

    x: float
    y: float
    width: float
    height: float
    autonomy: Autonomy
    lines: tuple[Line, ...]
    tooltip: str


class Edge(NamedTuple):
    """From the right side of one box to the left side of another."""

    x1: float
    y1: float
    x2: float
    y2: float
    autonomy: Autonomy


@dataclass(frozen=True)
class Drawing:
    """`foot`: lines under the boxes; `bounds`: what the one place comes to, with who says so."""

    width: float
    height: float
    title: str
    description: str
    head: tuple[str, ...]
    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    foot: tuple[Line, ...]
    bounds: tuple[tuple[str, str], ...]
    foot_at: float


def laid_out(graph: Graph, focus: str = "") -> Drawing:
    """`focus`: what the graph was narrowed to, as a person wrote it."""
    deepest = _deepest(graph.root)
    boxes: list[Box] = []
    edges: list[Edge] = []
    foot_at = _Columns(deepest, boxes, edges).put(graph.root, HEAD)[1] + 34
    bounds = _bounds(graph.root)
    foot = tuple(_foot(graph, bounds, focus))
    return Drawing(
        width=max(MIN_WIDTH, *(each.x + each.width + MARGIN for each in boxes)),
        height=foot_at + LINE * (len(foot) + len(bounds)) + MARGIN,
        title="Watchkeeper policy" + (f", {focus}" if focus else ""),
        description=_described(graph),
        head=(f"{_count(graph.grants, 'Grant')}, {_count(graph.limits, 'Limit')}", f"version {graph.version}"),
        boxes=tuple(boxes),
        edges=tuple(edges),
        foot=foot,
        bounds=bounds,
        foot_at=foot_at,
    )


def _deepest(root: Place) -> Level:
    """How far the levels are drawn."""
    here: list[Place] = [root]
    for level in tuple(Level)[1:]:
        below = [each for place in here for each in place.below]
        if not below or len(below) > MAX_ROWS:
            return Level(level - 1)
        here = below
    return Level.AGENT


class _Columns:
    def __init__(self, deepest: Level, boxes: list[Box], edges: list[Edge]) -> None:
        self._deepest, self._boxes, self._edges = deepest, boxes, edges

    def put(self, place: Place, top: float) -> tuple[Box, float]:
        """Its box, and where the room that it and all below it take ends."""
        x = MARGIN + sum(WIDTHS[level] + GAP for level in Level if level < place.level)
        folded = place.level == self._deepest and bool(place.below)
        width = WIDTHS[place.level]
        told = tuple(_lines(place, folded=folded))
        lines = tuple(fitting for each in told for fitting in _fitting(each, width))
        box = Box(
            x=x,
            y=top,
            width=width,
            height=2 * PAD + LINE * len(lines),
            autonomy=_widest(place),
            lines=lines,
            tooltip="\n".join([*(each.text for each in told if each.kind not in _NOT_TOLD_TWICE), *_whole(place)]),
        )
        self._boxes.append(box)
        ends, at = top, top
        for below in () if folded else place.below:
            child, ends = self.put(below, at)
            middle = PAD + LINE * 1.5
            self._edges.append(Edge(x + width, top + middle, child.x, child.y + middle, child.autonomy))
            at = ends + BETWEEN
        return box, max(ends, top + box.height)


def _lines(place: Place, *, folded: bool) -> Iterator[Line]:
    yield from _heading(place)
    if place.left is not None:
        yield from _left(place.left)
    if folded:
        yield from _folded(place)
        return
    for each in place.documents[:MAX_TOLD]:
        yield from _document(each, whole=place.left is None)
    if len(place.documents) > MAX_TOLD:
        yield Line("more", f"and {_kinds(place.documents[MAX_TOLD:])} more")


def _heading(place: Place) -> Iterator[Line]:
    if place.level is Level.ORGANISATION:
        yield Line("level", "organisation")
        yield Line("name", "everywhere")
        return
    yield Line("level", _NAMES[place.level])
    yield Line("name", str(place.names[0]))
    if place.level is Level.ACTION:
        _, intents, kinds = place.names
        on = "any target" if str(kinds) == "any" else str(kinds)
        yield Line("detail", f"{'any intent' if str(intents) == 'any' else intents} on {on}")


def _left(left: Left) -> Iterator[Line]:
    """What is left in the end, and who narrowed what a Grant gives."""
    narrowed = left.left is not left.given
    words = f"{left.given} → {left.left}" if narrowed else f"{left.left}"
    words += "" if left.sure else ", on a condition"
    words += f", or only {left.least}" if left.least is not left.left else ""
    yield Line("left", words, left.left)
    if narrowed:
        yield Line("detail", f"narrowed by {left.by}")
    others = [text for text, _ in asked(left.met.terms)][1:]
    if others:
        yield Line("detail", "; ".join(others))


def _folded(place: Place) -> Iterator[Line]:
    """What there is not the room to draw, in numbers."""
    held = {each.node.name: each for each in (*place.documents, *_below(place))}
    yield Line("more", f"folded: {_count(sum(place.tally.values()), 'path')} under {_kinds(held.values())}")
    for autonomy in reversed(Autonomy):
        if place.tally.get(autonomy):
            yield Line("left", f"{place.tally[autonomy]} × {autonomy}", autonomy)


def _below(place: Place) -> Iterator[Placed]:
    for each in place.below:
        yield from each.documents
        yield from _below(each)


def _kinds(documents: Iterable[Placed]) -> str:
    counted = Counter("Grant" if each.node.grants else "Limit" for each in documents)
    return ", ".join(_count(number, kind) for kind, number in sorted(counted.items()))


def _document(each: Placed, *, whole: bool) -> Iterator[Line]:
    """`whole`: all that it asks; otherwise what comes first, since the place tells the rest."""
    kind, spec = "grant" if each.node.grants else "limit", each.node.document.spec
    name = each.node.document.metadata.name
    yield Line(kind, name if whole else f"{name}: {in_short(each.node)}", spec.autonomy)
    if whole:
        yield Line("asks", "; ".join(asks(each.node)))
    if each.condition:
        yield Line("asks", f"if {each.condition}")


def _whole(place: Place) -> Iterator[str]:
    """Of every document all that it asks; the first `MAX_TOOLTIP` lines."""
    told = [
        f"{each.node.name}{f' if {each.condition}' if each.condition else ''}: " + "; ".join(asks(each.node))
        for each in place.documents
    ]
    yield from told[:MAX_TOOLTIP]
    if len(told) > MAX_TOOLTIP:
        yield f"and {len(told) - MAX_TOOLTIP} more documents"


def _widest(place: Place) -> Autonomy:
    return max(place.tally, key=lambda autonomy: autonomy.rank, default=Autonomy.NONE)


def _bounds(root: Place) -> tuple[tuple[str, str], ...]:
    """The meet, where there is one path, with whatever holds on a condition only."""
    here, placed = root, list(root.documents)
    while len(here.below) == 1:
        here = here.below[0]
        placed += here.documents
    conditions = {each.node.name: f" if {each.condition}" for each in placed if each.condition}
    met = () if here.left is None else asked(here.left.met.terms)
    return tuple((words, node + conditions.get(node, "")) for words, node in met)


def _foot(graph: Graph, bounds: Iterable[tuple[str, str]], focus: str) -> Iterator[Line]:
    if not graph.root.tally:
        yield Line("more", "Nothing is granted here, so nothing may be done.")
    if graph.idle and not focus:
        named = [each.name for each in graph.idle[:MAX_IDLE]]
        rest = len(graph.idle) - len(named)
        yield Line(
            "more", "matches nothing that is granted: " + ", ".join(named) + (f" and {rest} more" if rest else "")
        )
    if bounds:
        yield Line("name", "What this path comes to: the tightest of every bound, and the document that sets it")
    elif focus and graph.root.tally:
        yield Line("more", "Several paths are left: name more in --focus to see what one comes to.")


def _described(graph: Graph) -> str:
    """For those who do not see the picture."""
    tally = ", ".join(f"{graph.root.tally[each]} {each}" for each in Autonomy if graph.root.tally.get(each))
    return (
        f"{_count(graph.grants, 'Grant')} and {_count(graph.limits, 'Limit')}, placed where they match: organisation, "
        f"environment, service, runbook, agent. What is left to agents at the places where something is granted: "
        f"{tally or 'nothing'}."
    )


def _fitting(line: Line, width: float) -> list[Line]:
    """The line as it fits: an explanation goes on in a second line, all else is cut."""
    aside = ASIDE if line.kind in _ASIDE else 0
    most = int((width - 2 * PAD - 4 - aside) / (CHAR if line.kind == "name" else SMALL))
    if line.kind not in ("detail", "asks", "more"):
        return [line._replace(text=cut(line.text, most))]
    rows = wrap(line.text, most, max_lines=2, placeholder="…", break_on_hyphens=False)
    return [line._replace(text=row) for row in rows]


def cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _count(number: int, one: str) -> str:
    return f"{number} {one}{'' if number == 1 else 's'}"
