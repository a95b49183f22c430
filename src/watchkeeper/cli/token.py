"""token create, token revoke."""

from __future__ import annotations

from typing import Annotated

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client

app = typer.Typer(help="Access tokens: one per person or sender.", no_args_is_help=True)


@app.command()
def create(
    context: typer.Context,
    principal: Annotated[str, typer.Argument(help="An opaque id: letters, digits, - and _.")],
    role: Annotated[list[str], typer.Option(help="viewer, ingest, approver, operator or admin; repeatable.")],
    kind: Annotated[str, typer.Option(help="person or service.")] = "person",
    days: Annotated[int | None, typer.Option(help="Valid for so many days; for ever if not given.")] = None,
    json: Json = False,
) -> None:
    """Make a token. It is shown once."""
    body = {"principal": principal, "kind": kind, "roles": role, "days": days}
    made = client(context).post("/v1/tokens", body)
    if json:
        out.as_json(made)
        return
    print(made["token"])


@app.command()
def revoke(context: typer.Context, principal: str, json: Json = False) -> None:
    """Revoke every token of a principal."""
    done = client(context).delete(f"/v1/tokens/{principal}")
    if json:
        out.as_json(done)
        return
    out.say(f"revoked {done['tokens']} token(s) of {principal}")
