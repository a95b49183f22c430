"""resume, status."""

from __future__ import annotations

from typing import Any

import typer
from rich.text import Text

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client
from watchkeeper.cli.stop import Scope

STATES = {"ok": "green", "waiting": "dim"}


def register(app: typer.Typer) -> None:
    @app.command()
    def resume(context: typer.Context, scope: Scope = "all", json: Json = False) -> None:
        """Lift a stop, as an admin. Decisions made before the stop are made anew."""
        api = client(context)
        report = api.post("/v1/resume", {"scope": scope})
        if json:
            out.as_json(report)
            return
        out.say(Text.assemble(("resumed", "green"), out.plain(f" {report['scope']} at epoch {report['epoch']}")))
        for left in api.get("/v1/status")["stopped"]:
            out.say(f"  still stopped: {left['scope']}, by {left['changed_by']}", "bold yellow")

    @app.command()
    def status(context: typer.Context, json: Json = False) -> None:
        """Is it watching, may it act, what waits, what is in force, who delivers."""
        now = client(context).get("/v1/status")
        if json:
            out.as_json(now)
            return
        health = now["health"]
        may = Text("yes", "green") if health["acting"] else Text(out.plain(f"no: {health['why']}"), "bold red")
        stops = ", ".join(scope["scope"] for scope in now["stopped"]) or "none"
        rows: list[tuple[str, str | Text]] = [
            ("may act", may),
            ("stops", stops),
            ("policy", now["policy_version"][:23]),
            ("open incidents", str(now["incidents_open"])),
            ("waiting for approval", str(now["approvals_waiting"])),
            ("remedies in force", str(now["remedies_in_force"])),
            ("in flight", str(len(now["in_flight"]))),
            ("notifications failing", str(now["notifications_failing"])),
            ("record guarded by", now["guarding"].replace("_", " ")),
        ]
        rows += [(f"source {each['name']}", _delivers(each)) for each in now["sources"]]
        out.table(("what", "now"), rows, "")


def _delivers(source: dict[str, Any]) -> Text:
    """`ok, last 14:03:22, 120 signals`, and what went wrong last, if anything did."""
    state = source["state"]
    parts = [Text(out.plain(state), STATES.get(state, "bold red"))]
    if source["last_ok"] is not None:
        parts.append(Text(f"last {out.clock_time(source['last_ok'])}, {source['signals']} signals"))
    if source["duplicates"]:
        parts.append(Text(f"{source['duplicates']} known before"))
    if source["last_failure"] is not None:
        when = out.clock_time(source["last_failure"])
        parts.append(Text(f"{source['failures']} failed, trouble at {when}: {out.plain(source['last_error'])}"))
    return Text(", ").join(parts)
