"""objectives: what is left of each error budget, drawn, and how fast it burns."""

from __future__ import annotations

from typing import Any

import typer
from rich.text import Text

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client

BAR = 30
FAST = 14.4
"""The burn rate of the SRE workbook's first page: two per cent of a month's budget in an hour."""


def register(app: typer.Typer) -> None:
    @app.command()
    def objectives(context: typer.Context, json: Json = False) -> None:
        """Service level objectives: what is left of each error budget, and how fast it burns."""
        found = client(context).get("/v1/objectives")
        if json:
            out.as_json(found)
            return
        for each in found:
            _say(each["objective"], each["reading"])
        if not found:
            out.say("No objective is configured: `objectives` in the settings.")


def _say(objective: dict[str, Any], reading: dict[str, Any]) -> None:
    head = f"{objective['environment']}/{objective['service']} {objective['name']}"
    days = objective["period_s"] // 86_400
    out.say(Text.assemble((out.plain(head), "bold"), f", {objective['target']:.4g} good over {days} d"))
    left = reading["remaining"]
    if left is None:
        out.say("  budget   not known: watched for less than a tenth of the period", "yellow")
    else:
        style = "green" if left > 0.25 else "yellow" if left > 0 else "bold red"
        out.say(Text.assemble("  budget   ", (_bar(left), style), f" {left:.1%} left"))
    burns = "  ".join(f"{_window(each['window_s'])} {each['rate']:.2f}" for each in reading["burns"])
    fast = any(each["rate"] >= FAST for each in reading["burns"])
    rates = burns or "a rate that is not known: not watched for long enough"
    out.say(f"  burns at {rates}", "bold red" if fast else "")


def _bar(left: float) -> str:
    full = round(max(0.0, min(1.0, left)) * BAR)
    return "█" * full + "░" * (BAR - full)


def _window(seconds: int) -> str:
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
