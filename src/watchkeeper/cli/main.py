"""`watchkeeper`: the commands, their options and exit codes.

The exit code of a failure is that of its error in `watchkeeper.core.errors`; `--help` lists them. A failure is told on
standard error, with `--json` as JSON.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from watchkeeper import __version__
from watchkeeper.cli import (
    adapters,
    agents,
    approvals,
    authority,
    config,
    incidents,
    objectives,
    policy,
    rollout,
    run_daemon,
    runbook,
    stop,
    token,
    trust,
    witness,
)
from watchkeeper.cli.context import Global
from watchkeeper.cli.ledger import app as ledger
from watchkeeper.cli.out import failure
from watchkeeper.core.errors import InputError, WatchkeeperError

app = typer.Typer(
    help="The on-call watch for AI systems: detects, diagnoses, remediates inside your policy, and can replay it all.",
    epilog="Exit codes: 0 done, 1 failed, 2 bad input, 4 not found, 5 conflict, 6 forbidden, 7 unavailable, 8 refused, "
    "9 target error, 10 verification failed, 11 a policy would decide otherwise, 12 stopped, but not all is known.",
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
approvals.register(app)
stop.register(app)
authority.register(app)
trust.register(app)
objectives.register(app)
app.add_typer(adapters.app, name="adapters")
app.add_typer(agents.app, name="agents")
app.add_typer(config.app, name="config")
app.add_typer(ledger.app, name="ledger")
app.add_typer(runbook.app, name="runbook")
app.add_typer(policy.app, name="policy")
app.add_typer(rollout.app, name="rollout")
app.add_typer(token.app, name="token")
app.add_typer(witness.app, name="witness")


def run() -> None:
    """The console script: our errors become diagnostics and their exit codes."""
    json_wanted = "--json" in sys.argv[1:]
    try:
        sys.exit(_main(json_wanted))
    except WatchkeeperError as error:
        failure(error, json_wanted)
        sys.exit(error.exit_code)


def _main(json_wanted: bool) -> int:
    """Typer tells wrong words and options by itself; for a program they are an error like any other."""
    if not json_wanted:
        app()
        return 0
    try:
        code = app(standalone_mode=False)
    except typer.TyperException as error:
        raise InputError(str(error), next_step="watchkeeper --help") from error
    except typer.Abort:
        return 1
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    run()
