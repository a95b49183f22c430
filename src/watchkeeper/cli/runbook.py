"""runbook lint, list, show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import Json
from watchkeeper.core.errors import NotFoundError, RunbookError, suggest

if TYPE_CHECKING:
    from watchkeeper.runbooks.loader import Linted

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

    found = _catalogue(dirs)
    if name not in found:
        raise NotFoundError(f"there is no runbook {name!r}{suggest(name, found)}", next_step="watchkeeper runbook list")
    runbook = found[name].runbook
    document = runbook.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    if json:
        out.as_json({"digest": runbook.ref.digest, "document": document})
        return
    out.say(f"# {runbook.ref.digest}", "dim")
    out.say(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=out.YAML_WIDTH))


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
