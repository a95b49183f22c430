"""A laid-out policy as SVG: the same bytes for the same policy, no script, no font and no file of others.

Text stays text, so it can be selected, searched and read aloud. Colours are chosen for light paper and stand in the
elements; a style sheet changes them where the reader prefers dark. Each colour is told in words too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html import escape

from watchkeeper.core.decisions import Autonomy
from watchkeeper.policies.compile import Policy
from watchkeeper.policies.picture.layout import ASIDE, LINE, MARGIN, PAD, SMALL, Box, Drawing, Edge, Line, cut, laid_out
from watchkeeper.policies.picture.places import graph, read_focus

MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"
LIGHT = {"paper": "#ffffff", "ink": "#1f2328", "soft": "#57606a", "box": "#f6f8fa", "rim": "#d0d7de"}
DARK = {"paper": "#0d1117", "ink": "#e6edf3", "soft": "#9aa4ae", "box": "#161b22", "rim": "#3d444d"}
OF_LIGHT = {
    Autonomy.NONE: "#656d76",
    Autonomy.SHADOW: "#5b6b9a",
    Autonomy.PROPOSE: "#9a6700",
    Autonomy.BOUNDED: "#0969da",
    Autonomy.FULL: "#a333c8",
}
OF_DARK = {
    Autonomy.NONE: "#8b949e",
    Autonomy.SHADOW: "#93a4d8",
    Autonomy.PROPOSE: "#e3b341",
    Autonomy.BOUNDED: "#58a6ff",
    Autonomy.FULL: "#d77ff2",
}
_SAYS = {
    Autonomy.NONE: "none: denied",
    Autonomy.SHADOW: "shadow: touches nothing",
    Autonomy.PROPOSE: "propose: people approve",
    Autonomy.BOUNDED: "bounded: alone, with a way back",
    Autonomy.FULL: "full: alone",
}
BEND = 7
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PAINT = {"level": "soft", "detail": "soft", "more": "soft"}


def drawn(policy: Policy, focus: str = "") -> str:
    """Raises InputError for a focus that cannot be read, PolicyError for a policy that is too large to be drawn."""
    return svg(laid_out(graph(policy, read_focus(focus)), focus))


def svg(drawing: Drawing) -> str:
    size = f'{drawing.width:g}" height="{drawing.height:g}'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {drawing.width:g} {drawing.height:g}" width="{size}"'
        f' role="graphics-document" aria-labelledby="title description" font-family="{MONO}" font-size="11">',
        f'<title id="title">{_safe(drawing.title)}</title>',
        f'<desc id="description">{_safe(drawing.description)}</desc>',
        f"<style>{_dark()}</style>",
        f'<rect class="paper" width="100%" height="100%" fill="{LIGHT["paper"]}"/>',
        *_head(drawing),
        *(_edge(each) for each in sorted(drawing.edges, key=lambda edge: (edge.autonomy.rank, edge.y1 - edge.y2))),
    ]
    for box in drawing.boxes:
        parts += _box(box)
    return "\n".join([*parts, *_foot(drawing), "</svg>"]) + "\n"


def _dark() -> str:
    rules = [f".{name}{{fill:{colour}}}" for name, colour in DARK.items()]
    rules.append(f".box{{stroke:{DARK['rim']}}}")
    for autonomy, colour in OF_DARK.items():
        rules.append(f".f-{autonomy}{{fill:{colour}}}.s-{autonomy}{{stroke:{colour}}}")
    return f"@media (prefers-color-scheme:dark){{{''.join(rules)}}}"


def _head(drawing: Drawing) -> Iterator[str]:
    yield _text(MARGIN, 34, drawing.title, "ink", 'font-size="16" font-weight="600"')
    yield _text(MARGIN, 53, cut("  ·  ".join(drawing.head), int((drawing.width - 2 * MARGIN) / SMALL)), "soft")
    x = float(MARGIN)
    for autonomy, words in _SAYS.items():
        yield _dot(x, 66, autonomy)
        yield _text(x + 16, 75, words, "soft")
        x += 16 + SMALL * len(words) + 22
    yield _text(x, 75, "+ Grant gives   − Limit takes away", "soft")


def _edge(edge: Edge) -> str:
    """Straight, or down a rail that all lines of one box share."""
    rail, down = (edge.x2 - edge.x1) / 2, edge.y2 - edge.y1
    way = f"h{2 * rail:g}"
    if down:
        way = f"h{rail - BEND:g}q{BEND} 0 {BEND} {BEND}v{down - 2 * BEND:g}q0 {BEND} {BEND} {BEND}h{rail - BEND:g}"
    dash = ' stroke-dasharray="4 4"' if edge.autonomy is Autonomy.NONE else ""
    return (
        f'<path class="s-{edge.autonomy}" d="M{edge.x1:g} {edge.y1:g}{way}" fill="none"'
        f' stroke="{OF_LIGHT[edge.autonomy]}" stroke-width="1.75"{dash}/>'
    )


def _box(box: Box) -> Iterator[str]:
    yield f'<g role="graphics-symbol"><title>{_safe(box.tooltip)}</title>'
    yield (
        f'<rect class="box" x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" rx="5"'
        f' fill="{LIGHT["box"]}" stroke="{LIGHT["rim"]}"/>'
    )
    colour = OF_LIGHT[box.autonomy]
    yield (
        f'<path class="f-{box.autonomy}" d="M{box.x + 5:g} {box.y:g}a5 5 0 0 0 -5 5v{box.height - 10:g}a5 5 0 0 0 5 5z"'
        f' fill="{colour}"/>'
    )
    for number, line in enumerate(box.lines):
        yield from _line(line, box.x + PAD + 4, box.y + PAD + LINE * number + 12)
    yield "</g>"


def _line(line: Line, x: float, y: float) -> Iterator[str]:
    match line.kind:
        case "name":
            yield _text(x, y, line.text, "ink", 'font-size="12" font-weight="600"')
        case "left":
            assert line.colour is not None
            yield _dot(x, y - 9, line.colour)
            yield _text(x + ASIDE, y, line.text, f"f-{line.colour}", 'font-weight="600"')
        case "grant" | "limit":
            paint = "soft" if line.colour is None else f"f-{line.colour}"
            yield _text(x + 2, y, "+" if line.kind == "grant" else "−", paint, 'font-weight="700"')
            yield _text(x + ASIDE, y, line.text, "ink")
        case "asks":
            yield _text(x + ASIDE, y, line.text, "soft")
        case _:
            yield _text(x, y, line.text, _PAINT[line.kind])


def _foot(drawing: Drawing) -> Iterator[str]:
    y = drawing.foot_at
    for line in drawing.foot:
        yield from _line(line, MARGIN, y)
        y += LINE
    yield from _table(drawing.bounds, y)


def _table(rows: Iterable[tuple[str, str]], y: float) -> Iterator[str]:
    told = list(rows)
    second = MARGIN + 24 + SMALL * max((len(words) for words, _ in told), default=0)
    for number, (words, node) in enumerate(told):
        yield _text(MARGIN, y + LINE * number, words, "ink")
        yield _text(second, y + LINE * number, node, "soft")


def _safe(text: str) -> str:
    """Names are a team's own: what XML has no place for is shown as missing."""
    return escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text))


def _dot(x: float, y: float, autonomy: Autonomy) -> str:
    fill = OF_LIGHT[autonomy]
    return f'<rect class="f-{autonomy}" x="{x:g}" y="{y:g}" width="10" height="10" rx="2" fill="{fill}"/>'


def _text(x: float, y: float, text: str, paint: str, more: str = "") -> str:
    fill = LIGHT.get(paint) or OF_LIGHT[Autonomy(paint.removeprefix("f-"))]
    return f'<text class="{paint}" x="{x:g}" y="{y:g}" fill="{fill}"{" " if more else ""}{more}>{_safe(text)}</text>'
