"""`watchkeeper`: the commands, their options and exit codes.

The exit code of a failure is that of its error in `watchkeeper.core.errors`; `--help` lists them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from watchkeeper import __version__
from watchkeeper.cli import authority, config, incidents, ledger, policy, run_daemon, runbook, token
from watchkeeper.cli.context import Global
from watchkeeper.cli.out import errors, plain
from watchkeeper.core.errors import WatchkeeperError

app = typer.Typer(
    help="The on-call watch for AI systems: detects, diagnoses, remediates inside your policy, and can replay it all.",
    epilog="Exit codes: 0 done, 1 failed, 2 bad input, 4 not found, 5 conflict, 6 forbidden, 7 unavailable, 8 refused, "
    "9 target error, 10 verification failed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"watchkeeper {__version__}")
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    api_url: Annotated[str | None, typer.Option(help="The daemon's address.", envvar="WATCHKEEPER_API_URL")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Data directory of a daemon on this machine.", envvar="WATCHKEEPER_DATA_DIR")
    ] = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    context.obj = Global(api_url=api_url, data_dir=data_dir)


run_daemon.register(app)
incidents.register(app)
authority.register(app)
app.add_typer(config.app, name="config")
app.add_typer(ledger.app, name="ledger")
app.add_typer(runbook.app, name="runbook")
app.add_typer(policy.app, name="policy")
app.add_typer(token.app, name="token")


def run() -> None:
    """The console script: our errors become diagnostics and their exit codes."""
    try:
        app(standalone_mode=True)
    except WatchkeeperError as error:
        errors.print("error", style="bold red", end=" ")
        errors.print(plain(error.diagnostics()), soft_wrap=True, markup=False)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    run()
