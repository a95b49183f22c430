"""ledger stats."""

from __future__ import annotations

from typing import Any

import typer
from rich.filesize import decimal

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client
from watchkeeper.cli.ledger.search import short_name

BAR = 48


def register(app: typer.Typer) -> None:
    app.command()(stats)


def stats(context: typer.Context, json: Json = False) -> None:
    """What the log holds, by kind and by day, and what it costs."""
    found = client(context).get("/v1/ledger/stats")
    if json:
        out.as_json(found)
        return
    out.say(out.wrapped(_facts(found)))
    out.say("")
    whole = found["sampled"] >= found["size"]
    heads = ("kind", "entries" if whole else "entries, about", "bytes each")
    out.table(heads, [_kind(each) for each in found["kinds"]], "The ledger is empty.")
    if not whole:
        out.say(out.wrapped(f"Kinds are estimated from the newest {found['sampled']} entries."), "dim")
    out.say("")
    bodies = [(each["kind"], str(each["bodies"]), decimal(each["bytes"])) for each in found["evidence"]]
    out.table(("evidence", "bodies", "size before compression"), bodies, "No evidence is kept.")
    if found["evidence_is_more"]:
        out.say("There is more evidence than was counted.", "dim")
    out.say("")
    for line in _bars(found["growth"]):
        out.say(line)


def _facts(found: dict[str, Any]) -> str:
    pending = f"{'more than ' if found['pending_is_more'] else ''}{found['pending']}"
    pruned = f"; bytes of entries below {found['pruned']} may be pruned" if found["pruned"] else ""
    return (
        f"{found['size']} entries, {found['checkpoints']} checkpoints, {pending} pending, {found['writers']} writer(s)"
        f"{pruned}\n{decimal(found['database_bytes'])} on disk, with all else in this database"
    )


def _kind(each: dict[str, Any]) -> tuple[str, str, str]:
    return short_name(each["type"]), str(each["of_all"]), str(round(each["bytes"] / each["entries"]))


def _bars(growth: list[dict[str, Any]]) -> list[str]:
    """Entries a day, the longest bar for the most."""
    most = max((each["entries"] for each in growth), default=0)
    scale = BAR / most if most else 0
    return [f"{each['day']} {each['entries']:>10} {'█' * round(each['entries'] * scale)}".rstrip() for each in growth]
