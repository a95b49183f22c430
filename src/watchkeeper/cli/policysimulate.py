"""policy simulate: what documents would have decided in the past. It is the ledger's replay, asked from the policy's
side; nothing is put in force."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watchkeeper.cli.context import Json
from watchkeeper.cli.ledger import whatif
from watchkeeper.cli.ledger.whatif import Export, FailOn, Services, Since, Until


def register(app: typer.Typer) -> None:
    @app.command()
    def simulate(
        context: typer.Context,
        paths: Annotated[list[Path], typer.Argument(help="Files or folders; together they are the policy.")],
        export: Export = None,
        since: Since = None,
        until: Until = None,
        service: Services = None,
        fail_on: FailOn = FailOn.ANY,
        json: Json = False,
    ) -> None:
        """Say what documents would have decided in the past, and what is known of what came of it. Exit code 11 where
        that differs, as for `ledger replay --policy`."""
        whatif.ask(context, export, paths, whatif.question(since, until, service), fail_on, json=json)
