"""incidents, approve, reject, undo."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client

Comment = Annotated[str, typer.Option("--comment", "-m", help="Why; kept as evidence, not in the ledger itself.")]


def register(app: typer.Typer) -> None:
    @app.command()
    def incidents(
        context: typer.Context,
        json: Json = False,
        closed: Annotated[bool, typer.Option("--all", help="Closed ones too.")] = False,
        limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    ) -> None:
        """What is going on, newest first, and what waits for a person."""
        api = client(context)
        found = api.get("/v1/incidents", closed=closed, limit=limit)
        waiting = api.get("/v1/approvals")
        if json:
            out.as_json({"incidents": found, "approvals": waiting})
            return
        rows = [
            (i["id"], out.clock_time(i["opened"]), i["mode"], out.status(i["status"]), i["resolution"]) for i in found
        ]
        out.table(("id", "opened", "mode", "status", "resolution"), rows, "All quiet: no open incident.")
        for approval in waiting:
            _show_approval(approval)

    @app.command()
    def approve(context: typer.Context, approval: str, comment: Comment = "", json: Json = False) -> None:
        """Approve one plan, once. Shows what will change first."""
        _answer(context, approval, "approved", comment, json)

    @app.command()
    def reject(context: typer.Context, approval: str, comment: Comment = "", json: Json = False) -> None:
        """Refuse one plan; the incident goes to a person."""
        _answer(context, approval, "rejected", comment, json)

    @app.command()
    def undo(context: typer.Context, incident: str, json: Json = False) -> None:
        """Put back everything that an incident's remedy changed and still holds."""
        done = client(context).post(f"/v1/incidents/{incident}/undo")
        if json:
            out.as_json(done)
            return
        out.console.print(f"The undo of {incident} is under way.\nFollow it: watchkeeper ledger show {incident}")


def _answer(context: typer.Context, approval: str, answer: str, comment: str, json: bool) -> None:
    api = client(context)
    if not json:
        _show_approval(api.get(f"/v1/approvals/{approval}"))
    done = api.post(f"/v1/approvals/{approval}", {"answer": answer, "comment": comment, "via": "terminal"})
    if json:
        out.as_json(done)
        return
    out.console.print(f"{answer}: {approval} ({done['state']})")


def _show_approval(approval: dict[str, Any]) -> None:
    """The change of state, the blast radius and the way back, as a person needs them to say yes or no."""
    plan = approval["plan"]
    out.console.print(
        f"\n[bold yellow]waits for approval[/] {approval['id']}  until {out.clock_time(approval['expires'])}"
    )
    out.console.print(f"  {plan['runbook']['name']} for {plan['incident']} ({plan['basis']['mode']})")
    for action, change in zip(plan["actions"], plan["changes"], strict=True):
        out.console.print(f"  {action['intent']} {action['target']['kind']} {action['target']['id'][:24]}")
        for field in change["fields"]:
            out.console.print(f"    {field['path']}: {_value(field['before'])} → {_value(field['after'])}")
    out.console.print("  way back: every field above, restored to what it was")
    out.console.print(f"  watchkeeper approve {approval['id']}   or   watchkeeper reject {approval['id']}")


def _value(value: object) -> str:
    return "unset" if value is None else str(value)
