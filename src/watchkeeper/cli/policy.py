"""policy packs, show, apply, rollback, history: what is in force. The commands beside them have their own modules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from watchkeeper.cli import out, policycheck, policydiff, policygraph, policyschema, policysimulate, trials
from watchkeeper.cli.context import Json, client
from watchkeeper.cli.policyfiles import texts

if TYPE_CHECKING:
    from watchkeeper.policies.model import PolicyDocument

Reason = Annotated[str, typer.Option("--reason", "-m", help="Why; kept as evidence, not in the ledger itself.")]

_OUR_SCHEMA = "$schema=../../../../docs/policy.schema.json"
"""Where a shipped pack has it; a copy has it beside itself, as `policy schema --out` writes it."""

app = typer.Typer(help="What Watchkeeper may do: the documents, and the version in force.", no_args_is_help=True)
for commands in (policycheck, trials, policydiff, policygraph, policysimulate, policyschema):
    commands.register(app)


@app.command()
def packs(
    names: Annotated[list[str] | None, typer.Argument(help="Print these, as one file.")] = None,
    json: Json = False,
) -> None:
    """The shipped packs; with names, their files with comments and tests, to start your own from."""
    from watchkeeper.policies.load import pack, pack_names, pack_text

    printed = {name: pack_text(name).replace(_OUR_SCHEMA, "$schema=policy.schema.json") for name in names or ()}
    if json:
        out.as_json(printed if names else list(pack_names()))
        return
    if printed:
        print("\n---\n".join(text.strip() for text in printed.values()))
        return
    rows = [
        (name, str(len(found)), ", ".join(_heights(found))) for name in pack_names() if (found := pack(name).documents)
    ]
    out.table(("pack", "documents", "at most"), rows, "")


def _heights(documents: Sequence[PolicyDocument]) -> list[str]:
    """The autonomy that its Grants give, the widest first."""
    given = {each.spec.autonomy for each in documents if each.kind == "Grant" and each.spec.autonomy is not None}
    return [each.value for each in sorted(given, key=lambda each: -each.rank)]


@app.command()
def show(context: typer.Context, json: Json = False) -> None:
    """The policy in force, whole."""
    active = client(context).get("/v1/policies/active")
    if json:
        out.as_json(active)
        return
    out.say(f"# {active['version']}", "dim")
    out.say(_yaml([node["document"] for node in active["nodes"]]))


@app.command()
def apply(
    context: typer.Context,
    paths: Annotated[list[Path] | None, typer.Argument(help="Files or folders, - for standard input; whole.")] = None,
    pack: Annotated[str, typer.Option(help="A shipped pack instead of files.")] = "",
    reason: Reason = "",
    json: Json = False,
) -> None:
    """Put documents in force, whole and in one step. What was in force before is not."""
    files = [{"name": name, "text": text} for name, text in texts(paths or [])]
    done = client(context).post("/v1/policies", {"pack": pack, "files": files, "reason": reason})
    _say_in_force(done, json)


@app.command()
def rollback(
    context: typer.Context,
    version: Annotated[str, typer.Argument(help="As `policy history` shows it, whole.")],
    reason: Reason = "",
    json: Json = False,
) -> None:
    """Put a version in force again that was in force before."""
    _say_in_force(client(context).post(f"/v1/policies/{version}/rollback", {"reason": reason}), json)


@app.command()
def history(context: typer.Context, json: Json = False) -> None:
    """Which version was made active by whom and why, the latest first."""
    found = client(context).get("/v1/policies")
    if json:
        out.as_json(found)
        return
    for each in found:
        out.say(f"{each['at'][:19]}  {each['author']}\n    {each['version']}")
        if each["why"]:
            out.say(out.wrapped(f"    {each['why']}"), "dim")
    if not found:
        out.say("No policy was ever activated.")


def _say_in_force(done: dict[str, str], json: bool) -> None:
    if json:
        out.as_json(done)
        return
    out.say(f"in force: {done['version']}")


def _yaml(documents: list[dict[str, Any]]) -> str:
    import yaml

    return yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True, width=out.YAML_WIDTH)
