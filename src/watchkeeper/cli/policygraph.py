"""policy graph: a policy drawn, from files or as the daemon has it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import client
from watchkeeper.cli.policyfiles import compiled
from watchkeeper.core.errors import InputError


def register(app: typer.Typer) -> None:
    @app.command()
    def graph(
        context: typer.Context,
        policies: Annotated[
            list[str] | None, typer.Argument(help="Files, folders, - or pack:NAME; none: what is in force.")
        ] = None,
        version: Annotated[
            str, typer.Option(help="A version as `policy history` shows it, or active. Asks the daemon.")
        ] = "",
        focus: Annotated[
            str, typer.Option(metavar="KEY=WORD,...", help="One path, like environment=production,service=chat.")
        ] = "",
        to: Annotated[Path | None, typer.Option("--out", "-o", help="A file to write instead of printing.")] = None,
    ) -> None:
        """Draw a policy as SVG: where it gives authority, and what narrows it there."""
        from watchkeeper.policies.picture.svg import drawn

        if policies and version:
            raise InputError(
                "give either files or --version",
                cause="both were given: it is not said which policy is meant",
                next_step="watchkeeper policy graph --help",
            )
        if policies:
            picture = drawn(compiled(policies), focus)
        else:
            picture = client(context).text(f"/v1/policies/{version or 'active'}/graph.svg", focus=focus)
        out.whole(picture, to)
