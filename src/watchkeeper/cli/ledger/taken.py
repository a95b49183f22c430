"""An export to work on: one that lies there, or the daemon's own, fetched for as long as the command runs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from watchkeeper.cli.context import client
from watchkeeper.cli.ledger.export import Form, bar


@contextmanager
def taken(context: typer.Context, export: Path | None) -> Iterator[Path]:
    """The directory of the export's files."""
    if export is not None:
        yield export
        return
    from watchkeeper.cli import unpack

    with tempfile.TemporaryDirectory(prefix="watchkeeper-replay-") as scratch:
        directory = Path(scratch) / "export"
        unpack.prepare(directory)
        with client(context).pieces("/v1/ledger/export", form=Form.JSONL.value) as pieces, bar(Form.JSONL) as seen:
            unpack.unpack(pieces, directory, seen)
        yield directory
