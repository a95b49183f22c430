"""ledger show, tail."""

from __future__ import annotations

from json import dumps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client
from watchkeeper.cli.ledger.search import HEADS, rows

if TYPE_CHECKING:
    from watchkeeper.cli.client import Client

WAIT_S = 20.0
"""How long the daemon may wait for the next entry before it answers that there is none."""


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
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is added, until Ctrl-C.")] = False,
    json: Json = False,
) -> None:
    """The newest entries."""
    api = client(context)
    found = api.get("/v1/ledger/tail", count=count)
    if follow:
        _follow(api, found, json)
    elif json:
        out.as_json(found)
    else:
        out.table(HEADS, rows(found), "The ledger is empty.")


def _follow(api: Client, found: list[dict[str, Any]], json: bool) -> None:
    """Each entry as it is sequenced: a line of JSON, or a line for people."""
    after = -1
    while True:
        for entry in found:
            if json:
                out.say(dumps(entry, ensure_ascii=False, sort_keys=True))
            else:
                index, day, time, what, about = rows([entry])[0]
                out.say(f"{index:>7}  {day} {time}  {what:<19} {about}".rstrip())
            after = entry["index"]
        found = api.get("/v1/timeline", after=after, wait_s=WAIT_S)["entries"]
