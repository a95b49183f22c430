"""ledger search."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client
from watchkeeper.core.errors import InputError, suggest

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_PREFIX = "dev.watchkeeper."


def register(app: typer.Typer) -> None:
    app.command()(search)


def search(
    context: typer.Context,
    kind: Annotated[
        list[str] | None, typer.Option("--type", help="A kind, such as decision; may be given again.")
    ] = None,
    subject: Annotated[str | None, typer.Option(help="An incident's id, or an authority scope.")] = None,
    since: Annotated[str | None, typer.Option(help="90d, 2h, or an ISO time.")] = None,
    until: Annotated[str | None, typer.Option(help="90d, 2h, or an ISO time; not included.")] = None,
    after: Annotated[int, typer.Option(min=-1, help="Only entries with a greater index.")] = -1,
    count: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many entries.")] = 50,
    json: Json = False,
) -> None:
    """Entries by kind, subject and time, oldest first."""
    now = datetime.now(UTC)
    query: dict[str, Any] = {"after": after, "limit": count}
    if kind:
        query["type"] = [full_name(each) for each in kind]
    if subject is not None:
        query["subject"] = subject
    for name, given in (("since", since), ("until", until)):
        if given is not None:
            query[name] = moment(given, now, f"--{name}").isoformat()
    found = client(context).get("/v1/ledger/entries", **query)
    if json:
        out.as_json(found)
        return
    out.table(HEADS, rows(found), "No entry fits.")
    if len(found) == count:
        out.say(f"There may be more: --after {found[-1]['index']}", "dim")


HEADS = ("index", "day", "time", "what", "about")


def rows(entries: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (
            str(entry["index"]),
            datetime.fromisoformat(entry["envelope"]["time"]).astimezone().strftime("%m-%d"),
            out.clock_time(entry["envelope"]["time"]),
            short_name(entry["envelope"]["type"]),
            entry["envelope"]["subject"],
        )
        for entry in entries
    ]


def short_name(kind: str) -> str:
    return kind.removeprefix(_PREFIX).removesuffix(".v1")


def full_name(word: str) -> str:
    """`decision` or the whole name. Raises InputError, with the nearest one that there is."""
    from watchkeeper.core.entries import EntryType

    known = {short_name(kind): str(kind) for kind in EntryType}
    if word in known:
        return known[word]
    if word in known.values():
        return word
    raise InputError(
        f"no kind of entry is called {word!r}{suggest(word, known)}",
        place="--type",
        cause="it is mistyped, or a newer version writes it",
        next_step="watchkeeper ledger stats, which lists the kinds that there are",
    )


def moment(text: str, now: datetime, place: str) -> datetime:
    """`90d` before now, or an ISO time; one without a zone is local. Raises InputError."""
    relative = re.fullmatch(r"([0-9]{1,6})([smhdw])", text)
    try:
        if relative is not None:
            return now - timedelta(**{_UNITS[relative[2]]: int(relative[1])})
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{text!r} is no time",
            place=place,
            cause="it reads neither like 90d, 2h, 30m nor like 2026-01-02T03:04:05Z",
            next_step="watchkeeper ledger search --help",
        ) from error
