"""ledger replay."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import Json
from watchkeeper.core.errors import VerificationError

if TYPE_CHECKING:
    from watchkeeper.ledger.replay import Difference, ReplayReport

Export = Annotated[Path | None, typer.Option(help="Replay this export, without any daemon.")]


def register(app: typer.Typer) -> None:
    app.command()(replay)


def replay(
    context: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="Exit code 10 if one differs.")] = False,
    export: Export = None,
    json: Json = False,
) -> None:
    """Make every decision again from its recorded input, in a fresh process, and compare byte for byte."""
    report = _made_again(context, export)
    if json:
        out.as_json(report.model_dump(mode="json"))
    else:
        _show(report)
    if check and not report.ok:
        raise typer.Exit(VerificationError.exit_code)


def _made_again(context: typer.Context, export: Path | None) -> ReplayReport:
    from watchkeeper.cli.ledger.fresh import recheck
    from watchkeeper.cli.ledger.taken import taken
    from watchkeeper.cli.progress import bar
    from watchkeeper.ledger.jsonlines import size_of
    from watchkeeper.policies.recheck import ENTRIES

    with taken(context, export) as directory, bar("replay", size_of(directory / ENTRIES)) as tell:
        return recheck(directory, tell)


def _show(report: ReplayReport) -> None:
    out.say(f"{report.seen} entries: {report.matched} of the decisions were made again, the same byte for byte")
    for missing in report.not_recomputable:
        out.say(f"{missing.count} cannot be made again: {missing.reason}", "yellow")
    if report.differed:
        out.say(f"{len(report.differed)} differ", "bold red")
    for difference in report.differences:
        _show_difference(difference)
    for entry in report.differed[len(report.differences) :]:
        out.say(f"differs: {entry}", "red")


def _show_difference(difference: Difference) -> None:
    out.say(out.wrapped(f"differs: {difference.entry} {difference.subject}"), "red")
    for change in difference.paths:
        out.say(out.wrapped(f"  {change.path}: recorded {change.recorded or '-'}, again {change.again or '-'}"))
