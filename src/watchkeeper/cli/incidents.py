"""incidents, approve, reject, undo."""

from __future__ import annotations

import sys
from functools import partial
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client
from watchkeeper.core.errors import InputError

Comment = Annotated[str, typer.Option("--comment", "-m", help="Why; kept as evidence, not in the ledger itself.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where there is no terminal.")]
ApprovalArg = Annotated[str, typer.Argument(metavar="APPROVAL", help="The approval's id.")]

app = typer.Typer(help="What is going on, newest first, and what waits for a person.", invoke_without_command=True)


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="incidents")

    @root.command()
    def approve(
        context: typer.Context, approval: ApprovalArg, comment: Comment = "", yes: Yes = False, json: Json = False
    ) -> None:
        """Approve one plan, once. Shows what will change first."""
        _answer(context, approval, "approved", comment, sure=yes, json=json)

    @root.command()
    def reject(
        context: typer.Context, approval: ApprovalArg, comment: Comment = "", yes: Yes = False, json: Json = False
    ) -> None:
        """Refuse one plan; the incident goes to a person."""
        _answer(context, approval, "rejected", comment, sure=yes, json=json)

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
    if json:
        out.as_json({"incident": found, "remedies": held})
        return
    resolution = out.plain(found["resolution"])
    out.say(Text.assemble(out.plain(found["id"]), "  ", out.status(found["status"]), f"  {resolution}"))
    out.say(f"  {_what(found)}")
    out.say(f"  opened {out.clock_time(found['opened'])}, closed {out.clock_time(found['closed'])}")
    for remedy in held:
        target = remedy["change"]["target"]
        out.say(f"  in force: {remedy['change']['intent']} {target['kind']} {target['id']}")
        _show_changes(remedy["change"]["fields"])
    out.say(f"  the whole story: watchkeeper ledger show {incident}")


def _what(incident: dict[str, Any]) -> str:
    scope = incident["scope"]
    where = f"{scope['environment']}/{scope['service']}"
    end = f", {incident['resolution']}" if incident["resolution"] else ""
    return f"{incident['severity']} {incident['mode']} of {incident['subject']} in {where}{end}"


def _answer(context: typer.Context, approval: str, answer: str, comment: str, *, sure: bool, json: bool) -> None:
    """Nothing is answered unread: a person at a terminal sees the plan and is asked; `--yes` says it was read."""
    verb = "approve" if answer == "approved" else "reject"
    if not sure and not sys.stdin.isatty():
        raise InputError(
            f"there is no terminal to ask at, so nothing was {answer}",
            cause="the command runs in a script, or its input is redirected",
            next_step=f"watchkeeper {verb} {approval} --yes",
        )
    api = client(context)
    if not (sure and json):
        show_approval(api.get(f"/v1/approvals/{approval}"), into=out.errors if json else out.console)
    if not sure:
        typer.confirm(f"{verb.capitalize()} this plan?", abort=True, err=json)
    done = api.post(f"/v1/approvals/{approval}", {"answer": answer, "comment": comment, "via": "terminal"})
    if json:
        out.as_json(done)
        return
    out.say(f"{answer}: {approval} ({done['state']})")


def show_approval(approval: dict[str, Any], into: Console = out.console) -> None:
    """The change of state, the blast radius and the way back, as a person needs them to say yes or no."""
    say = partial(out.say, into=into)
    plan = approval["plan"]
    basis = plan["basis"]
    say(f"\nwaits for approval {approval['id']} until {out.clock_time(approval['expires'])}", "bold yellow")
    say(f"  {plan['runbook']['name']} for {approval['incident']}: {basis['mode']}, {basis['confidence']:.0%} sure")
    for step in approval["steps"]:
        say(f"  {step['intent']} {step['target']['kind']} {step['target']['id']}")
        say(f"    touches {step['count']} of {step['population']}")
        _show_changes(step["changes"], into)
        say("    way back:")
        _show_changes(step["way_back"], into)
    for gate in approval["decision"]["decision"]["walk"]:
        if not gate["passed"]:
            say(f"  policy asks: {gate['reason']} ({gate['node']})")
    say(f"  watchkeeper approve {approval['id']}")
    say(f"  watchkeeper reject {approval['id']}")


def _show_changes(fields: list[dict[str, Any]], into: Console = out.console) -> None:
    for field in fields:
        out.say(f"    {field['path']}: {_value(field['before'])} → {_value(field['after'])}", into=into)


def _value(value: object) -> str:
    return "unset" if value is None else str(value)
