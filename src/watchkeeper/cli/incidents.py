"""incidents, approve, reject, undo."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client

Comment = Annotated[str, typer.Option("--comment", "-m", help="Why; kept as evidence, not in the ledger itself.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask again.")]
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
        out.console.print(
            f"{incident['id']}  {out.clock_time(incident['opened'])}  {out.status(incident['status'])}", soft_wrap=True
        )
        out.say(f"    {_what(incident)}", "dim")
    if not found:
        out.say("All quiet: no open incident.")
    for approval in waiting:
        show_approval(approval)


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
    out.console.print(f"{found['id']}  {out.status(found['status'])}  {found['resolution']}", soft_wrap=True)
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
    return out.plain(f"{incident['severity']} {incident['mode']} of {incident['subject']} in {where}{end}")


def _answer(context: typer.Context, approval: str, answer: str, comment: str, *, sure: bool, json: bool) -> None:
    api = client(context)
    if not json:
        show_approval(api.get(f"/v1/approvals/{approval}"))
        if not sure and sys.stdin.isatty():
            typer.confirm(f"{'Approve' if answer == 'approved' else 'Reject'} this plan?", abort=True)
    done = api.post(f"/v1/approvals/{approval}", {"answer": answer, "comment": comment, "via": "terminal"})
    if json:
        out.as_json(done)
        return
    out.say(f"{answer}: {approval} ({done['state']})")


def show_approval(approval: dict[str, Any]) -> None:
    """The change of state, the blast radius and the way back, as a person needs them to say yes or no."""
    plan = approval["plan"]
    basis = plan["basis"]
    out.say(f"\nwaits for approval {approval['id']} until {out.clock_time(approval['expires'])}", "bold yellow")
    out.say(f"  {plan['runbook']['name']} for {approval['incident']}: {basis['mode']}, {basis['confidence']:.0%} sure")
    for step in approval["steps"]:
        out.say(out.plain(f"  {step['intent']} {step['target']['kind']} {step['target']['id']}"))
        out.say(f"    touches {step['count']} of {step['population']}")
        _show_changes(step["changes"])
        out.say("    way back:")
        _show_changes(step["way_back"])
    for gate in approval["decision"]["decision"]["walk"]:
        if not gate["passed"]:
            out.say(f"  policy asks: {gate['reason']} ({gate['node']})")
    out.say(f"  watchkeeper approve {approval['id']}")
    out.say(f"  watchkeeper reject {approval['id']}")


def _show_changes(fields: list[dict[str, Any]]) -> None:
    for field in fields:
        out.say(out.plain(f"    {field['path']}: {_value(field['before'])} → {_value(field['after'])}"))


def _value(value: object) -> str:
    return "unset" if value is None else str(value)
