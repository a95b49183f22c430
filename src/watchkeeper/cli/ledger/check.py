"""ledger verify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client
from watchkeeper.cli.ledger.archive import verify_archive
from watchkeeper.cli.ledger.files import text_of
from watchkeeper.core.errors import InputError, VerificationError

if TYPE_CHECKING:
    from watchkeeper.ledger.verify import VerifyReport


def register(app: typer.Typer) -> None:
    app.command()(verify)


def verify(
    context: typer.Context,
    anchor: Annotated[Path | None, typer.Option(help="A file with a checkpoint that you remember.")] = None,
    export: Annotated[Path | None, typer.Option(help="Verify this export, without any daemon.")] = None,
    archive: Annotated[
        str | None, typer.Option(help="Verify this archive, without any daemon: a directory, or s3://BUCKET/PREFIX.")
    ] = None,
    endpoint_url: Annotated[str | None, typer.Option(help="With an archive in S3 that is not Amazon's.")] = None,
    vkey: Annotated[str | None, typer.Option(help="With either: the key you trust, as text or a file.")] = None,
    json: Json = False,
) -> None:
    """Re-derive the tree from the entries. Exit code 10 if it does not hold."""
    if archive is not None:
        verify_archive(archive, vkey, endpoint_url, json)
        return
    remembered = None if anchor is None else text_of(anchor)
    if export is None:
        if vkey is not None:
            raise InputError("--vkey is for --export and --archive", next_step="watchkeeper ledger verify --help")
        report = client(context).post("/v1/ledger/verify", {"anchor": remembered})
    else:
        report = _offline(export, vkey, remembered).model_dump(mode="json")
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


def _offline(directory: Path, vkey: str | None, anchor: str | None) -> VerifyReport:
    from watchkeeper.ledger.export import verify_export

    if vkey is None:
        raise InputError(
            "an export is verified against a key that you remember",
            cause="the key in the export proves nothing by itself",
            next_step="watchkeeper ledger key, asked of the daemon that wrote it",
        )
    trusted = vkey if "+" in vkey else text_of(Path(vkey))
    return verify_export(directory, trusted.strip(), anchor)
