"""incidents, undo."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.text import Text

from watchkeeper.cli import out
from watchkeeper.cli.approvals import show_approval, show_changes
from watchkeeper.cli.context import Json, client
from watchkeeper.cli.rulemessages import told_messages

app = typer.Typer(help="What is going on, newest first, and what waits for a person.", invoke_without_command=True)


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="incidents")

    @root.command()
    def undo(
        context: typer.Context,
        incident: Annotated[str, typer.Argument(help="The incident's id.")],
        json: Json = False,
    ) -> None:
        """Put back everything that an incident's remedy changed and still holds."""
        done = client(context).post(f"/v1/incidents/{incident}/undo")
        if json:
            out.as_json(done)
            return
        out.say(f"The undo of {incident} is under way.\nFollow it: watchkeeper ledger show {incident}")


@app.callback()
def listing(
    context: typer.Context,
    json: Json = False,
    closed: Annotated[bool, typer.Option("--all", help="Closed ones too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
) -> None:
    """What is going on, newest first, and what waits for a person."""
    if context.invoked_subcommand is not None:
        return
    api = client(context)
    found = api.get("/v1/incidents", closed=closed, limit=limit)
    waiting = api.get("/v1/approvals")
    if json:
        out.as_json({"incidents": found, "approvals": waiting})
        return
    for incident in found:
        opened = out.clock_time(incident["opened"])
        out.say(Text.assemble(out.plain(incident["id"]), f"  {opened}  ", out.status(incident["status"])))
        out.say(f"    {_what(incident)}", "dim")
    if not found:
        out.say("All quiet: no open incident.")
    if len(found) == limit:
        out.say(f"These are the newest {limit}; for more: watchkeeper incidents --limit 1000", "dim")
    for approval in waiting:
        show_approval(approval)


@app.command()
def close(
    context: typer.Context,
    incident: Annotated[str, typer.Argument(help="The incident's id.")],
    comment: Annotated[str, typer.Option("--comment", "-m", help="Why; kept as evidence.")],
    json: Json = False,
) -> None:
    """Close an escalated incident by your word. Refused while anything of it is in force."""
    done = client(context).post(f"/v1/incidents/{incident}/close", {"comment": comment})
    if json:
        out.as_json(done)
        return
    out.say(f"{incident} is closed. Should the trouble still be there, it is opened anew.")


@app.command()
def show(
    context: typer.Context,
    incident: Annotated[str, typer.Argument(help="The incident's id.")],
    json: Json = False,
) -> None:
    """Where one incident stands, and what of it is in force."""
    api = client(context)
    found = api.get(f"/v1/incidents/{incident}")
    held = [remedy for remedy in api.get("/v1/remedies") if remedy["incident"] == incident]
    messages = messages_of(api.get(f"/v1/incidents/{incident}/story"))
    waiting = [each["id"] for each in api.get("/v1/approvals") if each["incident"] == incident]
    if json:
        out.as_json({"incident": found, "remedies": held, "messages": messages, "approvals": waiting})
        return
    resolution = out.plain(found["resolution"])
    out.say(Text.assemble(out.plain(found["id"]), "  ", out.status(found["status"]), f"  {resolution}"))
    out.say(f"  {_what(found)}")
    out.say(f"  opened {out.clock_time(found['opened'])}, closed {out.clock_time(found['closed'])}")
    for line in told_messages(messages):
        out.say(out.wrapped(f"  {line}"))
    for remedy in held:
        target = remedy["change"]["target"]
        out.say(f"  in force: {remedy['change']['intent']} {target['kind']} {target['id']}")
        show_changes(remedy["change"]["fields"])
    for approval in waiting:
        out.say(f"  waits for you: watchkeeper approvals show {approval}")
    if found["status"] == "escalated":
        out.say(f"  a person has it; once it is dealt with:\n    watchkeeper incidents close {incident} -m WHY")
    out.say(f"  the whole story: watchkeeper ledger show {incident}")


def messages_of(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the policy's rules said of the latest decision."""
    decided = [step["messages"] for step in steps if step["part"] == "decided"]
    return decided[-1] if decided else []


def _what(incident: dict[str, Any]) -> str:
    scope = incident["scope"]
    where = f"{scope['environment']}/{scope['service']}"
    end = f", {incident['resolution']}" if incident["resolution"] else ""
    return f"{incident['severity']} {incident['mode']} of {incident['subject']} in {where}{end}"
