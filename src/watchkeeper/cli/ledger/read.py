"""ledger show, tail."""

from __future__ import annotations

from typing import Annotated

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client


def register(app: typer.Typer) -> None:
    app.command()(show)
    app.command()(tail)


def show(
    context: typer.Context,
    incident: Annotated[str, typer.Argument(help="The incident's id.")],
    evidence: Annotated[bool, typer.Option("--evidence", help="Every body that is still kept.")] = False,
    json: Json = False,
) -> None:
    """The story of an incident: seen, concluded, decided, done, and why."""
    from watchkeeper.cli import story

    steps = client(context).get(f"/v1/incidents/{incident}/story")
    if json:
        out.as_json(steps)
        return
    for line in story.lines(steps, evidence=evidence):
        out.say(line.text, line.style)
    if not steps:
        out.say("Nothing is sequenced yet: try again in a second.")


def tail(
    context: typer.Context,
    count: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many entries.")] = 20,
    json: Json = False,
) -> None:
    """The newest entries."""
    found = client(context).get("/v1/ledger/tail", count=count)
    if json:
        out.as_json(found)
        return
    rows = [
        (
            str(entry["index"]),
            out.clock_time(entry["envelope"]["time"]),
            entry["envelope"]["type"].removeprefix("dev.watchkeeper.").removesuffix(".v1"),
            entry["envelope"]["subject"],
        )
        for entry in found
    ]
    out.table(("index", "time", "what", "about"), rows, "The ledger is empty.")
