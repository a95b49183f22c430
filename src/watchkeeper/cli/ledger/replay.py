"""ledger replay."""

from __future__ import annotations

from typing import Annotated

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client
from watchkeeper.cli.ledger.replay_incident import kind_line, replay_incident
from watchkeeper.core.errors import VerificationError


def register(app: typer.Typer) -> None:
    app.command()(replay)


def replay(
    context: typer.Context,
    incident: Annotated[str | None, typer.Argument(help="Tell this incident step by step, with inputs.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit code 10 if one differs.")] = False,
    json: Json = False,
) -> None:
    """Make every finding, diagnosis and decision again from what was recorded, and compare."""
    if incident is not None:
        replay_incident(context, incident, check=check, json=json)
        return
    report = client(context).post("/v1/ledger/replay")
    if json:
        out.as_json(report)
    else:
        out.say(f"{report['matched']} of {report['seen']} entries were made again and are the same, byte for byte")
        for missing in report["not_recomputable"]:
            out.say(f"{missing['count']} cannot be made again: {missing['reason']}", "yellow")
        for kind in report["kinds"]:
            out.say("  " + kind_line(kind))
        for entry in report["differed"]:
            out.say(f"differs: {entry}", "bold red")
        for entry in report["altered"]:
            out.say(f"its evidence was altered: {entry}", "bold red")
    if check and (report["differed"] or report["altered"]):
        raise typer.Exit(VerificationError.exit_code)
