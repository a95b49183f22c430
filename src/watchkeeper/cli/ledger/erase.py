"""ledger erase."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client
from watchkeeper.core.errors import InputError

SHOWN = 20
"""How many bodies are listed before it is asked; all are with --json."""


def register(app: typer.Typer) -> None:
    app.command()(erase)


def erase(
    context: typer.Context,
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why; kept as evidence.")],
    commitments: Annotated[
        list[str] | None, typer.Argument(help="As ledger show names them: at least 12 digits.")
    ] = None,
    incident: Annotated[str | None, typer.Option(help="All evidence of this incident instead.")] = None,
    kind: Annotated[str | None, typer.Option(help="Of the incident, only this kind: prompt, reply, ...")] = None,
    sure: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where there is no terminal.")] = False,
    json: Json = False,
) -> None:
    """Destroy evidence for ever, body and salt. The log still verifies, and says it was done."""
    if bool(commitments) == (incident is not None):
        raise InputError(
            "name either commitments or an incident",
            cause="none was named, or both were",
            next_step="watchkeeper ledger erase --help; watchkeeper ledger show INCIDENT lists its evidence",
        )
    if not sure and not sys.stdin.isatty():
        raise InputError(
            "there is no terminal to ask at, so nothing was erased",
            cause="the command runs in a script, or its input is redirected",
            next_step="watchkeeper ledger erase ... --yes",
        )
    api = client(context)
    wanted = {"commitments": commitments or [], "incident": incident, "kind": kind, "reason": reason}
    if not sure:
        looked = api.post("/v1/ledger/evidence/erase", wanted | {"dry_run": True})
        _show(looked, "would be erased", err=json)
        if not looked["found"]:
            return
        typer.confirm("Erase it? Nobody can bring it back.", abort=True, err=json)
        wanted |= {"commitments": [use["ref"]["commitment"] for use in looked["found"]], "incident": None, "kind": None}
    done = api.post("/v1/ledger/evidence/erase", wanted)
    if json:
        out.as_json(done)
        return
    _show(done, "erased")
    for entry in done["entries"]:
        out.say(f"recorded as {entry}")
    if done["entries"] and not done["overwritten"]:
        out.say("Bytes may stay in the database's files until their space is used again.", "yellow")


def _show(found: dict[str, Any], done: str, *, err: bool = False) -> None:
    into = out.errors if err else out.console
    for use in found["found"][:SHOWN]:
        ref = use["ref"]
        out.say(f"{done}: {ref['kind']}, {ref['size']} bytes", into=into)
        out.say(f"  {ref['commitment']}", "dim", into=into)
        for entry in use["entries"]:
            what = entry["type"].removeprefix("dev.watchkeeper.").removesuffix(".v1")
            about = f" of {entry['subject']}" if entry["subject"] else ""
            out.say(out.wrapped(f"  in {what} {entry['id']}{about}"), "dim", into=into)
    if len(found["found"]) > SHOWN:
        out.say(f"and {len(found['found']) - SHOWN} more", into=into)
    if not found["found"]:
        out.say("nothing of it is there", into=into)
    for name in found["gone_before"]:
        out.say(f"gone before:\n  {name}", "dim", into=into)
