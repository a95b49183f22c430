"""ledger show, tail, verify, replay, checkpoint, key, export."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from watchkeeper.cli import out
from watchkeeper.cli.context import Json, client
from watchkeeper.core.errors import InputError, VerificationError

if TYPE_CHECKING:
    from watchkeeper.ledger.verify import VerifyReport

app = typer.Typer(help="The record: read it, verify it, replay it, take it with you.", no_args_is_help=True)

MAX_ANCHOR = 65_536


@app.command()
def show(
    context: typer.Context,
    incident: Annotated[str, typer.Argument(help="The incident's id.")],
    evidence: Annotated[bool, typer.Option("--evidence", help="Every body that is still kept.")] = False,
    json: Json = False,
) -> None:
    """The story of an incident: seen, concluded, decided, done, and why."""
    from watchkeeper.cli import story

    steps = client(context).get(f"/v1/incidents/{incident}/story")
    if json:
        out.as_json(steps)
        return
    for line in story.lines(steps, evidence=evidence):
        out.say(line.text, line.style)
    if not steps:
        out.say("Nothing is sequenced yet: try again in a second.")


@app.command()
def tail(
    context: typer.Context,
    count: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many entries.")] = 20,
    json: Json = False,
) -> None:
    """The newest entries."""
    found = client(context).get("/v1/ledger/tail", count=count)
    if json:
        out.as_json(found)
        return
    rows = [
        (
            str(entry["index"]),
            out.clock_time(entry["envelope"]["time"]),
            entry["envelope"]["type"].removeprefix("dev.watchkeeper.").removesuffix(".v1"),
            entry["envelope"]["subject"],
        )
        for entry in found
    ]
    out.table(("index", "time", "what", "about"), rows, "The ledger is empty.")


@app.command()
def verify(
    context: typer.Context,
    anchor: Annotated[Path | None, typer.Option(help="A file with a checkpoint that you remember.")] = None,
    export: Annotated[Path | None, typer.Option(help="Verify this export, without any daemon.")] = None,
    vkey: Annotated[str | None, typer.Option(help="With --export: the key you trust, as text or a file.")] = None,
    json: Json = False,
) -> None:
    """Re-derive the tree from the entries. Exit code 10 if it does not hold."""
    remembered = None if anchor is None else _text(anchor)
    if export is None:
        if vkey is not None:
            raise InputError("--vkey is for --export", next_step="watchkeeper ledger verify --help")
        report = client(context).post("/v1/ledger/verify", {"anchor": remembered})
    else:
        report = _offline(export, vkey, remembered).model_dump(mode="json")
    if json:
        out.as_json(report)
    else:
        _show_report(report)
    if not report["ok"]:
        raise typer.Exit(VerificationError.exit_code)


@app.command()
def replay(
    context: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="Exit code 10 if one differs.")] = False,
    json: Json = False,
) -> None:
    """Make every decision again from its recorded input, and compare."""
    report = client(context).post("/v1/ledger/replay")
    if json:
        out.as_json(report)
    else:
        out.say(f"{report['matched']} of {report['seen']} entries were made again and are the same, byte for byte")
        for missing in report["not_recomputable"]:
            out.say(f"{missing['count']} cannot be made again: {missing['reason']}", "yellow")
        for entry in report["differed"]:
            out.say(f"differs: {entry}", "bold red")
    if check and report["differed"]:
        raise typer.Exit(VerificationError.exit_code)


@app.command()
def checkpoint(context: typer.Context, json: Json = False) -> None:
    """The newest signed checkpoint. Keep one elsewhere, as the anchor of a verify."""
    note = client(context).text("/v1/ledger/checkpoint")
    if json:
        out.as_json({"checkpoint": note})
    else:
        print(note, end="")


@app.command()
def key(context: typer.Context, json: Json = False) -> None:
    """The log's verifier key. Remember it out of band."""
    found = client(context).get("/v1/ledger/key")
    if json:
        out.as_json(found)
    else:
        print(found["vkey"])


@app.command("export")
def export_(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(help="A new or empty directory.")],
    json: Json = False,
) -> None:
    """Everything that is signed, as files that anybody can verify without us."""
    from watchkeeper.cli import unpack

    unpack.prepare(directory)
    with tempfile.TemporaryFile() as archive:
        client(context).download("/v1/ledger/export", archive)
        archive.seek(0)
        files = unpack.unpack(archive, directory)
    if json:
        out.as_json({"directory": str(directory), "files": files})
        return
    out.say(f"exported to {directory}")
    out.say(f"verify it anywhere: watchkeeper ledger verify --export {directory} --vkey KEY")


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
    trusted = vkey if "+" in vkey else _text(Path(vkey))
    return verify_export(directory, trusted.strip(), anchor)


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_ANCHOR)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InputError(f"cannot read the file: {why}", place=str(path), next_step="check the path") from error
