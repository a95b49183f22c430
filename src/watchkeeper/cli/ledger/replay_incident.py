"""ledger replay INCIDENT: the story in order, each step with its inputs, made again where that can be done."""

from __future__ import annotations

from typing import Any

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import client
from watchkeeper.core.errors import VerificationError


def replay_incident(context: typer.Context, incident: str, *, check: bool, json: bool) -> None:
    """Exit code 10 with `check`, if a step differs or its evidence was altered."""
    from watchkeeper.cli import replayed
    from watchkeeper.ledger.replays.again import ALTERED, Made

    steps = client(context).get(f"/v1/incidents/{incident}/replay")
    if json:
        out.as_json(steps)
    else:
        for line in replayed.lines(steps):
            out.say(line.text, line.style)
        if not steps:
            out.say("Nothing is sequenced yet: try again in a second.")
    answers = [step["again"] for step in steps if step["again"] is not None]
    if check and any(each["made"] == Made.DIFFERS or each["reason"] == ALTERED for each in answers):
        raise typer.Exit(VerificationError.exit_code)


def kind_line(count: dict[str, Any]) -> str:
    """`finding: 3 the same, 0 differ, 1 cannot be made again`."""
    kind = count["kind"].removeprefix("dev.watchkeeper.").removesuffix(".v1")
    same, differs, gone = count["matched"], count["differed"], count["not_recomputable"]
    return f"{kind}: {same} the same, {differs} differ, {gone} cannot be made again"
