"""policy lint, test, explain, diff, show, apply, rollback, history."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from watchkeeper.cli import out, policydiff, trials
from watchkeeper.cli.context import Json, client
from watchkeeper.core.errors import PolicyError

if TYPE_CHECKING:
    from watchkeeper.policies.compile import Policy

Reason = Annotated[str, typer.Option("--reason", "-m", help="Why; kept as evidence, not in the ledger itself.")]

app = typer.Typer(help="What Watchkeeper may do: the documents, and the version in force.", no_args_is_help=True)
trials.register(app)
policydiff.register(app)


@app.command()
def lint(
    paths: Annotated[list[Path], typer.Argument(help="Files or folders of policy documents.")],
    dirs: Annotated[
        list[Path] | None, typer.Option("--runbooks", help="A folder of your own runbooks; repeatable.")
    ] = None,
    json: Json = False,
) -> None:
    """Read and compile documents, as an activation would, and look up the names in them. Changes nothing."""
    from watchkeeper.cli.offers import names
    from watchkeeper.policies.compile import compile_policy
    from watchkeeper.policies.lint import lint as look_up
    from watchkeeper.policies.load import load
    from watchkeeper.runbooks.loader import read, read_shipped

    documents = load(*paths)
    policy = compile_policy(documents)
    runbooks = [each.runbook.name for each in (*read_shipped(), *read(*(dirs or ())))]
    unknown = look_up(documents, names(runbooks))
    if json:
        found = [{"place": each.place, "document": each.node, "message": each.message} for each in unknown]
        out.as_json({"version": policy.version, "documents": [n.name for n in policy.nodes], "findings": found})
    else:
        _say_compiled(policy)
        for each in unknown:
            out.say(out.wrapped(f"{each.place}: {each.message}"), "red")
    if unknown:
        raise typer.Exit(PolicyError.exit_code)


def _say_compiled(policy: Policy) -> None:
    out.table(
        ("document", "gives", "autonomy"),
        [
            (node.name, "authority" if node.grants else "nothing: it limits", str(node.document.spec.autonomy or "-"))
            for node in policy.nodes
        ],
        "",
    )
    out.say(f"version {policy.version}")
    if not any(node.grants for node in policy.nodes):
        out.say("No Grant: nothing may be done (default deny).", "yellow")


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
    paths: Annotated[list[Path] | None, typer.Argument(help="Files or folders; together they are the policy.")] = None,
    pack: Annotated[str, typer.Option(help="A shipped pack instead of files.")] = "",
    reason: Reason = "",
    json: Json = False,
) -> None:
    """Put documents in force, whole and in one step. What was in force before is not."""
    files = [{"name": name, "text": text} for name, text in _texts(paths or [])]
    done = client(context).post("/v1/policies", {"pack": pack, "files": files, "reason": reason})
    _say_in_force(done, json)


@app.command()
def rollback(
    context: typer.Context,
    version: Annotated[str, typer.Argument(help="As `policy history` shows it, whole.")],
    json: Json = False,
) -> None:
    """Put a version in force again that was in force before."""
    _say_in_force(client(context).post(f"/v1/policies/{version}/rollback"), json)


@app.command()
def history(context: typer.Context, json: Json = False) -> None:
    """Which version was made active by whom, the latest first."""
    found = client(context).get("/v1/policies")
    if json:
        out.as_json(found)
        return
    rows = [(each["at"][:19], each["author"], each["version"]) for each in found]
    for at, author, version in rows:
        out.say(f"{at}  {author}\n    {version}")
    if not rows:
        out.say("No policy was ever activated.")


def _say_in_force(done: dict[str, str], json: bool) -> None:
    if json:
        out.as_json(done)
        return
    out.say(f"in force: {done['version']}")


def _texts(paths: list[Path]) -> list[tuple[str, str]]:
    """Names and contents; whether they are documents is for the daemon to say."""
    from watchkeeper.policies.load import SUFFIXES

    files = {
        file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if file.suffix in SUFFIXES
    }
    try:
        return [(str(file), file.read_text(encoding="utf-8")) for file in sorted(files)]
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise PolicyError(f"cannot read a policy file: {why}", next_step="watchkeeper policy lint PATHS") from error


def _yaml(documents: list[dict[str, Any]]) -> str:
    import yaml

    return yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True, width=out.YAML_WIDTH)
