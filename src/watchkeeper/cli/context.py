"""What every command shares: where the daemon is, and how to print."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from watchkeeper.cli.client import Client

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@dataclass(frozen=True)
class Global:
    api_url: str | None
    data_dir: Path | None

    def client(self) -> Client:
        from watchkeeper.cli.client import connect

        return connect(self.api_url, self.data_dir)


def client(context: typer.Context) -> Client:
    """The daemon, for as long as the command runs."""
    found: Global = context.obj
    api = found.client()
    context.call_on_close(api.close)
    return api
