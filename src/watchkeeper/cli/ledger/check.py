"""ledger verify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client
from watchkeeper.cli.ledger.files import text_of
from watchkeeper.cli.ledger.quorum import anchor_of_daemon, anchor_of_export, refuse_both, without_quorum
from watchkeeper.core.errors import InputError, VerificationError

if TYPE_CHECKING:
    from watchkeeper.ledger.verify import VerifyReport


def register(app: typer.Typer) -> None:
    app.command()(verify)


def verify(
    context: typer.Context,
    anchor: Annotated[Path | None, typer.Option(help="A file with a checkpoint that you remember.")] = None,
    policy: Annotated[
        Path | None, typer.Option(help="A tlog-policy: the newest checkpoint that its quorum cosigned is the anchor.")
    ] = None,
    export: Annotated[Path | None, typer.Option(help="Verify this export, without any daemon.")] = None,
    vkey: Annotated[str | None, typer.Option(help="With --export: the key you trust, as text or a file.")] = None,
    json: Json = False,
) -> None:
    """Re-derive the tree from the entries. Exit code 10 if it does not hold."""
    refuse_both(anchor, policy)
    remembered = None if anchor is None else text_of(anchor)
    if export is None:
        if vkey is not None:
            raise InputError("--vkey is for --export", next_step="watchkeeper ledger verify --help")
        if policy is not None:
            remembered = anchor_of_daemon(client(context), policy)
        report = client(context).post("/v1/ledger/verify", {"anchor": remembered})
    else:
        trusted = _trusted(vkey)
        if policy is not None:
            remembered = anchor_of_export(export, policy, trusted)
        report = _offline(export, trusted, remembered).model_dump(mode="json")
    if policy is not None and remembered is None:
        report = without_quorum(report)
    if json:
        out.as_json(report)
    else:
        _show_report(report)
    if not report["ok"]:
        raise typer.Exit(VerificationError.exit_code)


def _show_report(report: dict[str, Any]) -> None:
    from watchkeeper.ledger.audit import VerifyReport

    for position, line in enumerate(VerifyReport.model_validate(report).lines()):
        out.say(out.wrapped(line), ("bold green" if report["ok"] else "bold red") if position == 0 else "")


def _offline(directory: Path, vkey: str, anchor: str | None) -> VerifyReport:
    from watchkeeper.ledger.export import verify_export

    return verify_export(directory, vkey, anchor)


def _trusted(vkey: str | None) -> str:
    if vkey is None:
        raise InputError(
            "an export is verified against a key that you remember",
            cause="the key in the export proves nothing by itself",
            next_step="watchkeeper ledger key, asked of the daemon that wrote it",
        )
    return (vkey if "+" in vkey else text_of(Path(vkey))).strip()
