"""ledger checkpoint, key."""

from __future__ import annotations

from typing import Annotated

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client


def register(app: typer.Typer) -> None:
    app.command()(checkpoint)
    app.command()(key)


def checkpoint(
    context: typer.Context,
    cosigned: Annotated[
        bool, typer.Option("--cosigned", help="The newest that the configured quorum cosigned.")
    ] = False,
    json: Json = False,
) -> None:
    """The newest signed checkpoint. Keep one elsewhere, as the anchor of a verify."""
    note = client(context).text("/v1/ledger/checkpoint", cosigned=cosigned)
    if json:
        out.as_json({"checkpoint": note})
    else:
        print(note, end="")


def key(context: typer.Context, json: Json = False) -> None:
    """The log's verifier key. Remember it out of band."""
    found = client(context).get("/v1/ledger/key")
    if json:
        out.as_json(found)
    else:
        print(found["vkey"])
