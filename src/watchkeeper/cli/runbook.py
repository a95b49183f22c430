"""runbook lint, list, show, run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchkeeper.cli import out
from watchkeeper.cli.config import ConfigFile
from watchkeeper.cli.context import Json
from watchkeeper.cli.settingsfile import settings_of
from watchkeeper.core.errors import InputError, NotFoundError, RefusedError, RunbookError, suggest
from watchkeeper.core.findings import FailureMode

if TYPE_CHECKING:
    from watchkeeper.cli.runbookrun import Rehearsed
    from watchkeeper.runbooks.loader import Linted
    from watchkeeper.runbooks.model import Runbook

app = typer.Typer(help="What may be done: the shipped runbooks and your own.", no_args_is_help=True)

Dirs = Annotated[list[Path] | None, typer.Option("--dir", help="A folder of your own runbooks; repeatable.")]


@app.command()
def lint(
    paths: Annotated[list[Path] | None, typer.Argument(help="Files or folders; the shipped ones if none.")] = None,
    json: Json = False,
) -> None:
    """Everything that is wrong or unwise, with file:line. Exit code 2 on an error."""
    from watchkeeper.cli.offers import offers
    from watchkeeper.runbooks.lint import LintSeverity
    from watchkeeper.runbooks.loader import read, read_shipped

    linted = read(*paths, offers=offers()) if paths else read_shipped(offers())
    found = [(place, finding) for each in linted for place, finding in each.findings]
    wrong = any(finding.severity is LintSeverity.ERROR for _, finding in found)
    if json:
        out.as_json(
            {
                "runbooks": [each.runbook.name for each in linted],
                "findings": [
                    {"place": place, "severity": f.severity, "code": f.code, "message": f.message} for place, f in found
                ],
            }
        )
    else:
        for place, finding in found:
            out.say(
                out.wrapped(f"{place}: {finding.severity}: {finding.message} ({finding.code})"),
                "red" if finding.severity is LintSeverity.ERROR else "yellow",
            )
        out.say(f"{len(linted)} runbook(s), {len(found)} finding(s)")
    if wrong:
        raise typer.Exit(RunbookError.exit_code)


@app.command("list")
def list_(dirs: Dirs = None, json: Json = False) -> None:
    """The runbooks that there are, and what calls for each."""
    found = _catalogue(dirs)
    if json:
        out.as_json([_summary(each) for each in found.values()])
        return
    rows = [
        (
            each.runbook.name,
            ", ".join(each.runbook.spec.trigger.modes),
            ", ".join(sorted({action.intent for action in each.runbook.spec.actions})),
        )
        for each in found.values()
    ]
    out.table(("runbook", "for", "does"), rows, "There is no runbook.")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The runbook's name.")], dirs: Dirs = None, json: Json = False
) -> None:
    """One runbook, whole, and its digest."""
    import yaml

    runbook = _known(name, dirs).runbook
    document = runbook.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    if json:
        out.as_json({"digest": runbook.ref.digest, "document": document})
        return
    out.say(f"# {runbook.ref.digest}", "dim")
    out.say(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=out.YAML_WIDTH))


@app.command()
def run(
    name: Annotated[str, typer.Argument(help="The runbook's name.")],
    target: Annotated[str, typer.Option(help="What is in trouble: ADAPTER/KIND/ID.")],
    mode: Annotated[FailureMode | None, typer.Option(help="The trouble; the runbook's first mode if none.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Needed: only the daemon acts, under policy.")] = False,
    dirs: Dirs = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """What a runbook would change on a target of the infrastructure now. Changes nothing. Exit code 8 if refused."""
    import asyncio

    if not dry_run:
        raise InputError(
            "a runbook is carried out by the daemon alone, under policy",
            cause="--dry-run is not given",
            next_step=f"watchkeeper runbook run {name} --target {target} --dry-run",
        )
    found = asyncio.run(_rehearsed(_known(name, dirs).runbook, target, mode, config))
    if json:
        out.as_json([_told(each) for each in found])
    for each in () if json else found:
        _say(each)
    if any(each.refused is not None for each in found):
        raise typer.Exit(RefusedError.exit_code)


async def _rehearsed(runbook: Runbook, target: str, mode: FailureMode | None, config: Path | None) -> list[Rehearsed]:
    from watchkeeper.cli.gripcheck import unrecorded
    from watchkeeper.cli.runbookrun import rehearse, target_of

    adapters = unrecorded(settings_of(config))
    try:
        return await rehearse(runbook, target_of(target), mode or runbook.spec.trigger.modes[0], adapters)
    finally:
        await adapters.close()


def _say(each: Rehearsed) -> None:
    out.say(f"{each.action.intent} {each.action.target} ({each.action.kind.replace('_', ' ')})", "bold")
    if each.refused is not None:
        out.say(out.wrapped(f"  refused: {each.refused.diagnostics()}"), "red")
    for field in () if each.change is None else each.change.fields:
        out.say(out.wrapped(f"  {field.path}: {_value(field.before)} -> {_value(field.after)}"))


def _value(value: object) -> str:
    return "(unset)" if value is None else str(value)


def _told(each: Rehearsed) -> dict[str, object]:
    told: dict[str, object] = {"action": each.action.model_dump(mode="json")}
    if each.refused is not None:
        return told | {"refused": each.refused.reason, "fix": each.refused.next_step}
    return told | {"change": None if each.change is None else each.change.model_dump(mode="json")}


def _known(name: str, dirs: list[Path] | None) -> Linted:
    found = _catalogue(dirs)
    if name not in found:
        raise NotFoundError(f"there is no runbook {name!r}{suggest(name, found)}", next_step="watchkeeper runbook list")
    return found[name]


def _catalogue(dirs: list[Path] | None) -> dict[str, Linted]:
    """A team's runbook stands for the shipped one of the same name."""
    from watchkeeper.runbooks.loader import read, read_shipped

    return {each.runbook.name: each for each in (*read_shipped(), *read(*(dirs or ())))}


def _summary(linted: Linted) -> dict[str, list[str] | str]:
    spec = linted.runbook.spec
    return {
        "name": linted.runbook.name,
        "digest": linted.runbook.ref.digest,
        "modes": [str(mode) for mode in spec.trigger.modes],
        "intents": sorted({str(action.intent) for action in spec.actions}),
    }
