"""ledger replay."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client
from watchkeeper.cli.ledger import whatif
from watchkeeper.cli.ledger.replay_incident import kind_line, replay_incident
from watchkeeper.cli.ledger.whatif import Export, FailOn
from watchkeeper.core.errors import InputError, VerificationError

if TYPE_CHECKING:
    from watchkeeper.ledger.replays.replay import Difference, ReplayReport

Policies = Annotated[
    list[Path] | None,
    typer.Option("--policy", help="Ask these documents (files or folders) what they would have said; repeatable."),
]


def register(app: typer.Typer) -> None:
    app.command()(replay)


def replay(
    context: typer.Context,
    incident: Annotated[str | None, typer.Argument(help="Tell this incident step by step, with inputs.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit code 10 if one differs.")] = False,
    export: Export = None,
    policy: Policies = None,
    since: Annotated[
        str | None, typer.Option(help="90d before the newest entry, or an instant. With --policy.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="An instant. With --policy.")] = None,
    service: Annotated[
        list[str] | None, typer.Option(help="SERVICE or ENVIRONMENT/SERVICE; repeatable. With --policy.")
    ] = None,
    fail_on: Annotated[FailOn, typer.Option(help="When to end with exit code 11. With --policy.")] = FailOn.ANY,
    json: Json = False,
) -> None:
    """Make every decision again from its recorded input, in a fresh process, and findings and diagnoses from their
    evidence; compare byte for byte. With INCIDENT: its story, step by step. With --policy: which decisions another
    policy would have made otherwise, and what is known of what came of them."""
    if incident is not None:
        _alone(export, policy, since, until, service)
        replay_incident(context, incident, check=check, json=json)
        return
    if policy:
        if check:
            raise InputError(
                "--check and --policy are two questions",
                next_step="watchkeeper ledger replay --help; ask one at a time",
            )
        whatif.ask(context, export, policy, whatif.question(since, until, service), fail_on, json=json)
        return
    if since or until or service:
        raise InputError(
            "--since, --until and --service are for --policy", next_step="watchkeeper ledger replay --help"
        )
    report = _made_again(context, export)
    if json:
        out.as_json(report.model_dump(mode="json"))
    else:
        _show(report)
    if check and not report.ok:
        raise typer.Exit(VerificationError.exit_code)


def _alone(*others: object) -> None:
    if any(others):
        raise InputError(
            "an INCIDENT is told from the daemon's log, with no other question",
            next_step="watchkeeper ledger replay --help; ask one at a time",
        )


def _made_again(context: typer.Context, export: Path | None) -> ReplayReport:
    from watchkeeper.cli.ledger.fresh import recheck
    from watchkeeper.cli.ledger.taken import taken
    from watchkeeper.cli.progress import bar
    from watchkeeper.ledger.exports.jsonlines import size_of
    from watchkeeper.ledger.exports.layout import ENTRIES
    from watchkeeper.ledger.replays.replay import ReplayReport, merged

    with taken(context, export) as directory, bar("replay", size_of(directory / ENTRIES)) as tell:
        decisions = recheck(directory, tell, alone=export is not None)
    if export is not None:
        return decisions
    others = ReplayReport.model_validate(client(context).post("/v1/ledger/replay", decisions=False))
    return merged([decisions, others]).model_copy(update={"seen": decisions.seen})


def _show(report: ReplayReport) -> None:
    out.say(f"{report.seen} entries: {report.matched} were made again and are the same, byte for byte")
    for kind in report.kinds:
        out.say("  " + kind_line(kind.model_dump()))
    for missing in report.not_recomputable:
        out.say(f"{missing.count} cannot be made again: {missing.reason}", "yellow")
    if report.differed:
        out.say(f"{len(report.differed)} differ", "bold red")
    for difference in report.differences:
        _show_difference(difference)
    for entry in report.differed[len(report.differences) :]:
        out.say(f"differs: {entry}", "red")
    for entry in report.altered:
        out.say(f"its evidence was altered: {entry}", "bold red")


def _show_difference(difference: Difference) -> None:
    out.say(out.wrapped(f"differs: {difference.entry} {difference.subject}"), "red")
    for change in difference.paths:
        out.say(out.wrapped(f"  {change.path}: recorded {change.recorded or '-'}, again {change.again or '-'}"))
