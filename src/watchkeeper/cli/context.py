"""What every command shares: where the daemon is, and how to print."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from watchkeeper.cli.client import Client, connect

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@dataclass(frozen=True)
class Global:
    api_url: str | None
    data_dir: Path | None

    def client(self) -> Client:
        return connect(self.api_url, self.data_dir)


def client(context: typer.Context) -> Client:
    found: Global = context.obj
    return found.client()
