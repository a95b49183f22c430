"""policy validate, lint: what is wrong with documents, and what is suspicious. They read files and ask no daemon."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import Json
from watchkeeper.cli.policyfiles import texts
from watchkeeper.core.errors import PolicyError

if TYPE_CHECKING:
    from watchkeeper.policies.compile import Policy
    from watchkeeper.policies.validate import Validated

Paths = Annotated[list[Path], typer.Argument(help="Files or folders of policy documents; - reads standard input.")]


def register(app: typer.Typer) -> None:
    @app.command()
    def validate(paths: Paths, json: Json = False) -> None:
        """Read and compile documents, as an activation would. Tells every mistake with file:line; exit code 2."""
        from watchkeeper.policies.validate import validate as look

        found = look(texts(paths), ", ".join(map(str, paths)))
        if json:
            out.as_json(_as_json(found))
        elif found.policy is not None:
            _say_compiled(found.policy, found.tests)
        else:
            for error in found.errors:
                out.say(out.wrapped(f"{error.place}: {error.what}"), "red")
                if error.next_step:
                    out.say(out.wrapped(f"  next: {error.next_step}"))
            out.say("\nNothing of this would be put in force. The language: docs/policies.md")
        if found.errors:
            raise typer.Exit(PolicyError.exit_code)

    @app.command()
    def lint(
        paths: Paths,
        dirs: Annotated[
            list[Path] | None, typer.Option("--runbooks", help="A folder of your own runbooks; repeatable.")
        ] = None,
        json: Json = False,
    ) -> None:
        """Say what is suspicious in valid documents: names of runbooks, agents and targets that nothing has."""
        from watchkeeper.cli.offers import names
        from watchkeeper.policies.compile import compile_policy
        from watchkeeper.policies.lint import lint as look_up
        from watchkeeper.policies.load import from_texts
        from watchkeeper.runbooks.loader import read, read_shipped

        documents = from_texts(dict(texts(paths)), ", ".join(map(str, paths)))
        policy = compile_policy(documents)
        runbooks = [each.runbook.name for each in (*read_shipped(), *read(*(dirs or ())))]
        unknown = look_up(documents, names(runbooks))
        if json:
            found = [{"place": each.place, "document": each.node, "message": each.message} for each in unknown]
            out.as_json({"version": policy.version, "documents": [n.name for n in policy.nodes], "findings": found})
        else:
            for each in unknown:
                out.say(out.wrapped(f"{each.place}: {each.message}"), "red")
            out.say(f"{len(policy.nodes)} documents, {len(unknown)} findings", "" if unknown else "green")
        if unknown:
            raise typer.Exit(PolicyError.exit_code)


def _say_compiled(policy: Policy, tests: int) -> None:
    out.table(
        ("document", "gives", "autonomy"),
        [
            (node.name, "authority" if node.grants else "nothing: it limits", str(node.document.spec.autonomy or "-"))
            for node in policy.nodes
        ],
        "",
    )
    out.say(f"version {policy.version}")
    if tests:
        out.say(f"{tests} PolicyTest beside it: watchkeeper policy test PATHS")
    if not any(node.grants for node in policy.nodes):
        out.say("No Grant: nothing may be done (default deny).", "yellow")


def _as_json(found: Validated) -> dict[str, object]:
    return {
        "valid": found.policy is not None,
        "version": None if found.policy is None else found.policy.version,
        "documents": [] if found.policy is None else [node.name for node in found.policy.nodes],
        "tests": found.tests,
        "errors": [
            {"place": place, "message": what, "next": each.next_step}
            for each in found.errors
            for place, what in each.mistakes()
        ],
    }
