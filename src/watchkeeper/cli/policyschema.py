"""policy schema: the language of policy documents, for an editor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watchkeeper.cli import out


def register(app: typer.Typer) -> None:
    @app.command()
    def schema(
        kind: Annotated[
            str | None, typer.Option(help="Of one kind of document alone: Grant, Limit, PolicyTest.")
        ] = None,
        to: Annotated[Path | None, typer.Option("--out", "-o", help="A file to write instead of printing.")] = None,
    ) -> None:
        """Print the JSON Schema (draft 2020-12) of policy documents, for an editor."""
        from watchkeeper.policies.schema import text

        out.whole(text(kind), to)
