"""ledger archive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from watchkeeper.cli import out, progress
from watchkeeper.cli.context import Json, client
from watchkeeper.cli.ledger.files import text_of
from watchkeeper.core.errors import InputError, VerificationError


def register(app: typer.Typer) -> None:
    app.command("archive")(archive)


def archive(
    context: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="Read it all back instead. Exit code 10.")] = False,
    json: Json = False,
) -> None:
    """Copy what is signed to the archive, or check the archive against the database."""
    path = "/v1/ledger/archive/check" if check else "/v1/ledger/archive"
    with progress.shown("ledger archive") as bar:
        report = client(context).follow(path, {}, bar)["report"]
    if json:
        out.as_json(report)
    elif check:
        show_check(report)
    else:
        _show(report)
    if check and not report["ok"]:
        raise typer.Exit(VerificationError.exit_code)


def verify_archive(place: str, vkey: str | None, endpoint_url: str | None, json: bool) -> None:
    """`ledger verify --archive`: by itself, without a daemon. `vkey` may be several, one a line, of a changed key."""
    from watchkeeper.ledger.archive.check import ArchiveCheck
    from watchkeeper.ledger.archive.places import storage_at
    from watchkeeper.ledger.signing.note import VerifierKey

    if vkey is None:
        raise InputError(
            "an archive is verified against a key that you remember",
            cause="the key in the archive proves nothing by itself",
            next_step="watchkeeper ledger key, asked of the daemon that wrote it",
        )
    trusted = vkey if "+" in vkey else text_of(Path(vkey))
    keys = [VerifierKey.from_vkey(line) for line in trusted.split()]
    check = ArchiveCheck(storage_at(place, endpoint_url=endpoint_url), keys)
    with progress.shown("ledger verify") as bar:
        for bundle in check.walk():
            if bar is not None:
                bar(bundle.first + len(bundle.leaves), check.reaches)
    report = check.report().model_dump(mode="json")
    if json:
        out.as_json(report)
    else:
        show_check(report)
    if not report["ok"]:
        raise typer.Exit(VerificationError.exit_code)


def show_check(report: dict[str, Any]) -> None:
    from watchkeeper.ledger.archive.check import ArchiveCheckReport

    for position, line in enumerate(ArchiveCheckReport.model_validate(report).lines()):
        out.say(out.wrapped(line), ("bold green" if report["ok"] else "bold red") if position == 0 else "")


def _show(report: dict[str, Any]) -> None:
    if not report["segments"]:
        out.say(f"Nothing new fills a bundle of 256: {report['end']} entries are at {report['place']}")
        return
    out.say(f"entries {report['first']} to {report['end'] - 1} are archived at {report['place']}")
    locked = "" if report["locked_until"] is None else f", locked until {report['locked_until'][:10]}"
    out.say(f"{report['objects']} objects in {report['segments']} segment(s), each read back{locked}")
