"""ledger export."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client


def register(app: typer.Typer) -> None:
    app.command("export")(export)


def export(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(help="A new or empty directory.")],
    json: Json = False,
) -> None:
    """Everything that is signed, as files that anybody can verify without us."""
    from watchkeeper.cli import unpack

    unpack.prepare(directory)
    with tempfile.TemporaryFile() as archive:
        client(context).download("/v1/ledger/export", archive)
        archive.seek(0)
        files = unpack.unpack(archive, directory)
    if json:
        out.as_json({"directory": str(directory), "files": files})
        return
    out.say(f"exported to {directory}")
    out.say(f"verify it anywhere: watchkeeper ledger verify --export {directory} --vkey KEY")
