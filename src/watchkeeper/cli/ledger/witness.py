"""ledger witness status: who cosigns this log. The witness that others run is `watchkeeper witness`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client
from watchkeeper.core.errors import VerificationError

group = typer.Typer(help="Who cosigns this log.", no_args_is_help=True)
QUORUM = {
    "met": "the quorum is met up to {quorum_size} of {size} entries",
    "not_met": "NO CHECKPOINT MEETS THE QUORUM",
    "no_policy": "no policy is set (ledger.policy_file): the quorum is not judged",
}


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="witness")


@group.command()
def status(context: typer.Context, json: Json = False) -> None:
    """Each witness, what it cosigned last, and whether the quorum is met. Exit code 10 if one disputes the log."""
    report = client(context).get("/v1/ledger/witnesses")
    if json:
        out.as_json(report)
    else:
        _show(report)
    if any(each["disputed"] for each in report["witnesses"]):
        raise typer.Exit(VerificationError.exit_code)


def _show(report: dict[str, Any]) -> None:
    rows = [
        (each["name"], str(each["cosigned_size"] or "-"), _age(each["cosigned_at"]), each["trouble"] or "none")
        for each in report["witnesses"]
    ]
    out.table(("witness", "cosigned", "age", "trouble"), rows, "No witness is set (ledger.witnesses).")
    out.say(QUORUM[report["quorum"]].format(**report), "bold red" if report["quorum"] == "not_met" else "")


def _age(at: str | None) -> str:
    if at is None:
        return "-"
    seconds = max(0, int((datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
