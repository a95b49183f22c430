"""ledger prune."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from watchkeeper.cli import out, progress
from watchkeeper.cli.context import Json, client
from watchkeeper.core.errors import InputError


def register(app: typer.Typer) -> None:
    app.command()(prune)


def prune(
    context: typer.Context,
    entries: Annotated[bool, typer.Option("--entries", help="Entries that the archive has, not evidence.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and delete nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where there is no terminal.")] = False,
    json: Json = False,
) -> None:
    """Delete what is kept no longer: evidence by its kind; with --entries, old entries."""
    if not (dry_run or yes or sys.stdin.isatty()):
        raise InputError(
            "there is no terminal to ask at, so nothing was deleted",
            cause="the command runs in a script, or its input is redirected",
            next_step="watchkeeper ledger prune --dry-run, then --yes",
        )
    path = "/v1/ledger/prune/entries" if entries else "/v1/ledger/prune"
    show = _show_entries if entries else _show_evidence
    if not yes or dry_run:
        planned = client(context).follow(path, {"dry": True})["report"]
        if dry_run and json:
            out.as_json(planned)
            return
        show(planned, json)
        if dry_run or not (planned["count"] if entries else planned["kinds"]):
            return
        typer.confirm("Delete this for good?", abort=True, err=json)
    with progress.shown("ledger prune") as bar:
        report = client(context).follow(path, {"dry": False}, bar)["report"]
    if json:
        out.as_json(report)
    else:
        show(report, json)


def _show_evidence(report: dict[str, Any], json: bool) -> None:
    into = out.errors if json else out.console
    verb = "would go" if report["dry"] else "deleted"
    for each in report["kinds"]:
        out.say(f"{each['kind']:<12}{each['count']:>10} {verb:<9}{each['size']:>15} bytes", into=into)
    if not report["kinds"]:
        out.say("No evidence is older than it is kept for.", into=into)
    if report["kept"]:
        out.say(f"{report['kept']} more stay: their incidents are open, or hold a remedy", into=into)


def _show_entries(report: dict[str, Any], json: bool) -> None:
    into = out.errors if json else out.console
    if not report["count"]:
        out.say(f"No archived entry from before {report['before'][:10]} is left to delete.", into=into)
    else:
        verb = "would be deleted" if report["dry"] else "deleted"
        out.say(f"{report['count']} entries from before {report['before'][:10]} {verb}", into=into)
        out.say(f"their leaf hashes stay; the archive at {report['place']} has them", into=into)
    if report["kept"]:
        out.say(f"{report['kept']} more stay: their incidents are open, or hold a remedy", into=into)
