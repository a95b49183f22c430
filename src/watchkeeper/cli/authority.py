"""stop, resume, status."""

from __future__ import annotations

from typing import Annotated

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client

Scope = Annotated[
    str,
    typer.Argument(help="all, environment:E, service:E/S, agent:A, action:RUNBOOK/INTENT or target:ADAPTER/KIND/ID."),
]


def register(app: typer.Typer) -> None:
    @app.command()
    def stop(context: typer.Context, scope: Scope = "all", json: Json = False) -> None:
        """Take authority away in one atomic step. Says what was already sent."""
        report = client(context).post("/v1/stop", {"scope": scope})
        if json:
            out.as_json(report)
            return
        out.console.print(f"[bold red]stopped[/] {report['scope']} at epoch {report['epoch']}")
        for claim in report["in_flight"]:
            out.console.print(f"  in flight, may still land: {claim['key']}")
        for remedy in report["half_done"]:
            out.console.print(f"  stands as it is: {remedy['change']['target']['id']} of {remedy['incident']}")
        if not report["in_flight"]:
            out.console.print("  nothing was in flight")
        out.console.print(f"  lift it: watchkeeper resume {scope}")

    @app.command()
    def resume(context: typer.Context, scope: Scope = "all", json: Json = False) -> None:
        """Lift a stop. Decisions made before the stop are made anew."""
        report = client(context).post("/v1/resume", {"scope": scope})
        if json:
            out.as_json(report)
            return
        out.console.print(f"[green]resumed[/] {report['scope']} at epoch {report['epoch']}")

    @app.command()
    def status(context: typer.Context, json: Json = False) -> None:
        """Is it watching, may it act, what waits, what is in force."""
        now = client(context).get("/v1/status")
        if json:
            out.as_json(now)
            return
        health = now["health"]
        may = "[green]yes[/]" if health["acting"] else f"[bold red]no[/]: {health['why']}"
        stops = ", ".join(scope["scope"] for scope in now["stopped"]) or "none"
        rows = [
            ("may act", may),
            ("stops", stops),
            ("policy", now["policy_version"][:23]),
            ("open incidents", str(now["incidents_open"])),
            ("waiting for approval", str(now["approvals_waiting"])),
            ("remedies in force", str(now["remedies_in_force"])),
            ("in flight", str(len(now["in_flight"]))),
            ("notifications failing", str(now["notifications_failing"])),
        ]
        rows += [(f"source {name}", state) for name, state in sorted(health["sources"].items())]
        out.table(("what", "now"), rows, "")
