"""What another policy would have said to the decisions of the log: the question, the answer as a table, the exit code.

The documents are read and compiled here, and the log is a copy: nothing is put in force, and no daemon decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from watchkeeper.cli import out
from watchkeeper.core.errors import InputError, PolicyDiffersError

if TYPE_CHECKING:
    from watchkeeper.policies.whatif.ask import Question
    from watchkeeper.policies.whatif.report import DecisionDiffers, Row, Said, WhatIf

Export = Annotated[Path | None, typer.Option(help="Replay this export, without any daemon.")]
Since = Annotated[str | None, typer.Option(help="90d before the newest entry, or an instant.")]
Until = Annotated[str | None, typer.Option(help="An instant.")]
Services = Annotated[list[str] | None, typer.Option(help="SERVICE or ENVIRONMENT/SERVICE; repeatable.")]
MAX_TOLD = 20
"""Decisions told one by one; `--json` has more."""
BAR = 12


class FailOn(StrEnum):
    """`any` counts other terms too; `none` only tells."""

    WIDER = "wider"
    NARROWER = "narrower"
    ANY = "any"
    NONE = "none"


def question(since: str | None, until: str | None, services: list[str] | None) -> Question:
    from watchkeeper.policies.whatif.ask import Question

    return Question(
        since=None if since is None else _since(since),
        until=None if until is None else _instant(until, "--until"),
        services=tuple(services or ()),
    )


def ask(
    context: typer.Context, export: Path | None, paths: list[Path], asked: Question, fail_on: FailOn, *, json: bool
) -> None:
    """Raises PolicyError with file:line before anything is fetched; ends with exit code 11 as `fail_on` says."""
    from watchkeeper.cli.ledger.taken import taken
    from watchkeeper.cli.progress import bar
    from watchkeeper.ledger.exports.jsonlines import size_of
    from watchkeeper.ledger.exports.layout import ENTRIES
    from watchkeeper.policies.compile import compile_policy
    from watchkeeper.policies.load import load
    from watchkeeper.policies.whatif.ask import what_if

    policy = compile_policy(load(*paths))
    with taken(context, export) as directory, bar("replay", size_of(directory / ENTRIES)) as tell:
        report = what_if(directory, policy, asked, tell)
    if json:
        out.as_json(report.model_dump(mode="json"))
    else:
        _show(report)
    if _fails(report, fail_on):
        raise typer.Exit(PolicyDiffersError.exit_code)


def _fails(report: WhatIf, fail_on: FailOn) -> bool:
    match fail_on:
        case FailOn.WIDER:
            return report.wider > 0
        case FailOn.NARROWER:
            return report.narrower > 0
        case FailOn.ANY:
            return report.same < report.weighed
        case FailOn.NONE:
            return False


def _since(text: str) -> datetime | timedelta:
    from watchkeeper.core.manifest import duration_ms

    try:
        return timedelta(milliseconds=duration_ms(text))
    except ValueError:
        return _instant(text, "--since")


def _instant(text: str, place: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"this is no time: {text[:40]}", place=place, next_step="write 90d, or 2026-01-31T00:00Z"
        ) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _show(report: WhatIf) -> None:
    out.table(
        ("service", "runbook", "same", "narrower", "wider", "terms", ""),
        [_cells(row) for row in report.rows],
        "No decision in this time.",
    )
    for line in _summary(report):
        out.say(out.wrapped(line))
    for each in report.differing[:MAX_TOLD]:
        _show_one(each)
    left = len(report.differing) - MAX_TOLD + report.unlisted
    if left > 0:
        out.say(f"and {left} more: --json lists {len(report.differing)}")


def _cells(row: Row) -> tuple[str | Text, ...]:
    counts = (row.same, row.narrower, row.wider, row.terms)
    return (f"{row.environment}/{row.service}", row.runbook, *map(str, counts), _bar(counts))


def _bar(counts: tuple[int, ...]) -> Text:
    """One sign for each share, in letters too: a log of a CI run has no colours."""
    total, made = sum(counts), Text()
    for count, (sign, style) in zip(
        counts, (("=", "dim"), ("-", "yellow"), ("+", "bold red"), ("~", "cyan")), strict=True
    ):
        made.append(sign * (max(1, round(BAR * count / total)) if count else 0), style)
    return made


def _summary(report: WhatIf) -> Iterable[str]:
    yield (
        f"{report.weighed} decisions: {report.same} the same, {report.narrower} narrower, {report.wider} wider, "
        f"{report.terms} the same on other terms"
    )
    for each in report.blocked:
        undone = f", {each.rolled_back} of them rolled back" if each.rolled_back else ""
        yield f"blocked, though done then: {each.count} {_words(each.became)}{undone}"
    if report.let_through:
        yield f"newly allowed: {report.let_through} unobserved; nobody knows what would have come of them"
    for state in report.state:
        incomplete = f", {state.incomplete} with what the log still has" if state.incomplete else ""
        yield f"{state.gate}: {state.recorded} asked with recorded state, {state.refolded} with re-folded{incomplete}"
    if report.unreadable:
        yield f"{report.unreadable} entries could not be read and weigh nothing"


def _show_one(each: DecisionDiffers) -> None:
    style = {"wider": "bold red", "narrower": "yellow"}.get(each.change, "cyan")
    scope = f"{each.environment}/{each.service}"
    out.say("")
    out.say(f"{each.change}  {each.incident}  {scope}", style)
    out.say(out.wrapped(f"  {each.at:%Y-%m-%d %H:%M:%S}Z {each.agent} {each.runbook}: {', '.join(each.intents)}"))
    out.say(out.wrapped(f"  recorded   {_said(each.recorded)}"))
    out.say(out.wrapped(f"  candidate  {_said(each.candidate)}"))
    undone = ", rolled back" if each.rolled_back else ""
    resolution = f"; the incident was closed: {each.resolution}" if each.resolution else ""
    out.say(out.wrapped(f"  became     {_words(each.became)}{undone}{resolution}"))
    moved = [f"{state.gate} {state.used}" for state in each.state]
    if moved:
        out.say(out.wrapped(f"  state      {', '.join(moved)}"))


def _said(said: Said) -> str:
    why = dict.fromkeys(f"{each.reason} ({each.node})" for each in said.objections)
    asked = [f"{each.quorum} of {'/'.join(each.roles)} within {each.ttl_s}s" for each in said.approvals]
    ttl = [] if said.remedy_ttl_s is None else [f"for at most {said.remedy_ttl_s}s"]
    return ", ".join([_words(said.verdict), *why, *asked, *ttl])


def _words(code: str) -> str:
    return code.replace("_", " ")
