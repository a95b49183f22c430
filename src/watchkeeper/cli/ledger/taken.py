"""An export to work on: one that lies there, or the daemon's own, fetched for as long as the command runs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from watchkeeper.cli.context import client


@contextmanager
def taken(context: typer.Context, export: Path | None) -> Iterator[Path]:
    """The directory of the export's files."""
    if export is not None:
        yield export
        return
    from watchkeeper.cli import unpack

    with tempfile.TemporaryDirectory(prefix="watchkeeper-replay-") as scratch, tempfile.TemporaryFile() as archive:
        client(context).download("/v1/ledger/export", archive)
        archive.seek(0)
        directory = Path(scratch) / "export"
        unpack.prepare(directory)
        unpack.unpack(archive, directory)
        yield directory
