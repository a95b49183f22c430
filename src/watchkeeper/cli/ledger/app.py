"""The group of commands, put together: each module of this folder registers its own."""

from __future__ import annotations

import typer

from watchkeeper.cli.ledger import (
    archive,
    check,
    checkpoint,
    erase,
    export,
    keys,
    prove,
    prune,
    read,
    replay,
    search,
    stats,
    witness,
)

READING = (read, search, stats, check, replay, checkpoint, prove, witness)
KEEPING = (export, archive, prune, erase, keys)

app = typer.Typer(help="The record: read it, verify it, replay it, take it with you.", no_args_is_help=True)
for part in (*READING, *KEEPING):
    part.register(app)
