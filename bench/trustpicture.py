"""Panels of lines as an SVG that needs nothing: x and y from 0 to 1, one legend for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, TOP, GAP, FOOT = 360, 240, 60, 40, 40, 90
COLOURS = ("#0b6e4f", "#2e86ab", "#8e6c8a", "#e08e45", "#c1292e")


@dataclass(frozen=True)
class Line:
    name: str
    points: Sequence[tuple[float, float]]


def drawn(panels: Sequence[tuple[str, Sequence[Line]]], x_name: str, y_name: str, legend: str) -> str:
    wide, high = LEFT + len(panels) * (WIDTH + GAP), TOP + HEIGHT + FOOT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" font-family="sans-serif" font-size="12">',
        f'<rect width="{wide}" height="{high}" fill="white"/>',
    ]
    for number, (title, lines) in enumerate(panels):
        parts += _panel(LEFT + number * (WIDTH + GAP), title, lines, x_name)
    parts.append(
        _text(16, TOP + HEIGHT / 2, y_name, f'text-anchor="middle" transform="rotate(-90 16 {TOP + HEIGHT / 2})"')
    )
    parts.append(_text(LEFT, high - 14, f"{legend}:"))
    for number, line in enumerate(panels[0][1]):
        x = LEFT + 140 + number * 80
        parts.append(f'<path d="M{x} {high - 18}h24" stroke="{COLOURS[number]}" stroke-width="2"/>')
        parts.append(_text(x + 30, high - 14, line.name))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(left: float, title: str, lines: Sequence[Line], x_name: str) -> Iterator[str]:
    yield _text(left + WIDTH / 2, TOP - 14, title, 'text-anchor="middle" font-weight="bold"')
    for tenth in range(0, 11, 2):
        y, x = TOP + HEIGHT * (1 - tenth / 10), left + WIDTH * tenth / 10
        yield f'<path d="M{left} {y:g}h{WIDTH}" stroke="#ddd"/>'
        yield _text(left - 6, y + 4, f"{tenth / 10:g}", 'text-anchor="end"')
        yield _text(x, TOP + HEIGHT + 18, f"{tenth / 10:g}", 'text-anchor="middle"')
    yield _text(left + WIDTH / 2, TOP + HEIGHT + 40, x_name, 'text-anchor="middle"')
    for colour, line in zip(COLOURS, lines, strict=False):
        points = " ".join(f"{left + WIDTH * x:.1f},{TOP + HEIGHT * (1 - y):.1f}" for x, y in line.points)
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" {more}>{escape(text)}</text>'
