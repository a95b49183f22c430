"""ledger verify, fsck."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from watchkeeper.cli import out, progress
from watchkeeper.cli.context import Json, client
from watchkeeper.cli.ledger.archive import verify_archive
from watchkeeper.cli.ledger.files import text_of
from watchkeeper.cli.ledger.quorum import anchor_of_daemon, anchor_of_export, refuse_both, without_quorum
from watchkeeper.core.errors import InputError, VerificationError

if TYPE_CHECKING:
    from watchkeeper.ledger.checks.verify import Progress, VerifyReport

    Offline = Callable[[Path, str, str | None, Progress | None], VerifyReport]

Anchor = Annotated[Path | None, typer.Option(help="A file with a checkpoint that you remember.")]
Policy = Annotated[
    Path | None, typer.Option(help="A tlog-policy: the newest checkpoint that its quorum cosigned is the anchor.")
]
Export = Annotated[Path | None, typer.Option(help="Check this export, without any daemon.")]
Archive = Annotated[
    str | None, typer.Option(help="Check this archive, without any daemon: a directory, or s3://BUCKET/PREFIX.")
]
Endpoint = Annotated[str | None, typer.Option(help="With an archive in S3 that is not Amazon's.")]
Key = Annotated[str | None, typer.Option(help="With --export and --archive: the key you trust, as text or a file.")]


def register(app: typer.Typer) -> None:
    app.command()(verify)
    app.command()(fsck)


def verify(
    context: typer.Context,
    anchor: Anchor = None,
    policy: Policy = None,
    export: Export = None,
    archive: Archive = None,
    endpoint_url: Endpoint = None,
    vkey: Key = None,
    json: Json = False,
) -> None:
    """Re-derive the tree from the entries. Exit code 10 if it does not hold."""
    from watchkeeper.ledger.exports.export import verify_export

    if archive is not None:
        verify_archive(archive, vkey, endpoint_url, json)
        return
    report = _checked(context, "verify", verify_export, anchor, policy, export, vkey)
    _told(report, json)


def fsck(
    context: typer.Context,
    anchor: Anchor = None,
    policy: Policy = None,
    export: Export = None,
    vkey: Key = None,
    json: Json = False,
) -> None:
    """Re-derive everything from the raw entries: slower, and finds more. Exit code 10."""
    from watchkeeper.ledger.exports.export import fsck_export

    report = _checked(context, "fsck", fsck_export, anchor, policy, export, vkey)
    _told(report, json)


def _checked(
    context: typer.Context,
    name: str,
    offline: Offline,
    anchor: Path | None,
    policy: Path | None,
    export: Path | None,
    vkey: str | None,
) -> dict[str, Any]:
    refuse_both(anchor, policy)
    remembered = None if anchor is None else text_of(anchor)
    if export is None and vkey is not None:
        raise InputError("--vkey is for --export and --archive", next_step=f"watchkeeper ledger {name} --help")
    with progress.shown(f"ledger {name}") as bar:
        if export is None:
            if policy is not None:
                remembered = anchor_of_daemon(client(context), policy)
            report = client(context).follow(f"/v1/ledger/{name}", {"anchor": remembered}, bar)["report"]
        else:
            trusted = _trusted(vkey)
            if policy is not None:
                remembered = anchor_of_export(export, policy, trusted)
            report = offline(export, trusted, remembered, bar).model_dump(mode="json")
    missing = policy is not None and remembered is None
    found: dict[str, Any] = without_quorum(report) if missing else report
    return found


def _told(report: dict[str, Any], json: bool) -> None:
    if json:
        out.as_json(report)
    else:
        _show_report(report)
    if not report["ok"]:
        raise typer.Exit(VerificationError.exit_code)


def _show_report(report: dict[str, Any]) -> None:
    from watchkeeper.ledger.checks.audit import VerifyReport

    for position, line in enumerate(VerifyReport.model_validate(report).lines()):
        out.say(out.wrapped(line), ("bold green" if report["ok"] else "bold red") if position == 0 else "")


def _trusted(vkey: str | None) -> str:
    if vkey is None:
        raise InputError(
            "an export is verified against a key that you remember",
            cause="the key in the export proves nothing by itself",
            next_step="watchkeeper ledger key, asked of the daemon that wrote it",
        )
    return (vkey if "+" in vkey else text_of(Path(vkey))).strip()
