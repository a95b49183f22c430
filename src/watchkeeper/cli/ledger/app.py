"""The group of commands, put together: each module of this folder registers its own."""

from __future__ import annotations

import typer

from watchkeeper.cli.ledger import archive, check, checkpoint, erase, export, keys, prove, prune, read, replay, witness

app = typer.Typer(help="The record: read it, verify it, replay it, take it with you.", no_args_is_help=True)
for part in (read, check, replay, checkpoint, prove, export, archive, prune, erase, keys, witness):
    part.register(app)
