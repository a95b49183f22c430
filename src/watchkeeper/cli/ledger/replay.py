"""ledger replay."""

from __future__ import annotations

from typing import Annotated

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client
from watchkeeper.core.errors import VerificationError


def register(app: typer.Typer) -> None:
    app.command()(replay)


def replay(
    context: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="Exit code 10 if one differs.")] = False,
    json: Json = False,
) -> None:
    """Make every decision again from its recorded input, and compare."""
    report = client(context).post("/v1/ledger/replay")
    if json:
        out.as_json(report)
    else:
        out.say(f"{report['matched']} of {report['seen']} entries were made again and are the same, byte for byte")
        for missing in report["not_recomputable"]:
            out.say(f"{missing['count']} cannot be made again: {missing['reason']}", "yellow")
        for entry in report["differed"]:
            out.say(f"differs: {entry}", "bold red")
    if check and report["differed"]:
        raise typer.Exit(VerificationError.exit_code)
