"""Exports the signed log as files that anybody can check without us, and checks such an export.

`entries.jsonl` holds one entry a line, in its exact bytes: line n is entry n. `checkpoints.jsonl` holds every signed
checkpoint, `checkpoint` the newest, `vkey` the verifier key. The key in an export proves nothing by itself: compare it
with the one you remember. Evidence bodies are not exported.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from watchkeeper.core.entries import MAX_ENTRY_BYTES
from watchkeeper.core.errors import InputError, NotFoundError
from watchkeeper.core.model import Contract
from watchkeeper.ledger.audit import Audit, Code, VerifyReport
from watchkeeper.ledger.checkpoint import Checkpoint
from watchkeeper.ledger.merkle import leaf_hash
from watchkeeper.ledger.note import MAX_NOTE_BYTES, Note, VerifierKey
from watchkeeper.ledger.reader import Entry, LogReader, parse_entry
from watchkeeper.ledger.snapshot import PAGE, Page, RawRow

ENTRIES, CHECKPOINTS, CHECKPOINT, VKEY = "entries.jsonl", "checkpoints.jsonl", "checkpoint", "vkey"


class ExportReport(Contract):
    size: int
    checkpoints: int
    directory: str


async def export(reader: LogReader, directory: Path, vkey: str) -> ExportReport:
    """Writes everything up to the newest checkpoint into a new or empty directory."""
    _prepare(directory)
    async with reader.snapshot() as log:
        newest = await log.newest_checkpoint()
        if newest is None:
            raise NotFoundError(
                "there is nothing to export", cause="no entry is signed yet", next_step="watchkeeper ledger tail"
            )
        size = Checkpoint.from_text(Note.from_text(newest).text).size
        count = 0
        with ExitStack() as files:
            entries, checkpoints = (files.enter_context(_new(directory / name)) for name in (ENTRIES, CHECKPOINTS))
            async for page in log.pages(end=size):
                entries.write(b"".join((row.body or b"") + b"\n" for row in page.rows))
                count += len(page.checkpoints)
                for _, note in page.checkpoints:
                    checkpoints.write(json.dumps(note, ensure_ascii=False).encode() + b"\n")
    for name, text in ((CHECKPOINT, newest), (VKEY, vkey + "\n")):
        (directory / name).write_text(text, encoding="utf-8")
    return ExportReport(size=size, checkpoints=count, directory=str(directory))


def verify_export(directory: Path, vkey: str, anchor: str | None = None) -> VerifyReport:
    """Verifies an export with nothing but its files and the key you trust."""
    audit = Audit([VerifierKey.from_vkey(vkey)], anchor)
    newest = _read(directory / CHECKPOINT).decode(errors="replace")
    last = ""
    for page in _pages(directory):
        audit.page(page)
        last = page.checkpoints[-1][1] if page.checkpoints else last
    if last != newest:
        audit.problem("checkpoint", Code.BAD_CHECKPOINT)
    return audit.report()


def exported_entries(directory: Path) -> Iterator[Entry]:
    """The entries of an export, in order, for replay. Verify the export first."""
    for index, line in enumerate(_lines(directory / ENTRIES, MAX_ENTRY_BYTES)):
        yield parse_entry(index, line, leaf_hash(line).hex())


def _prepare(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise InputError(
            "the directory to export into is not empty",
            place=str(directory),
            cause="an earlier export is there, and exports are never mixed",
            next_step="name a new directory",
        )


def _new(path: Path) -> BinaryIO:
    return path.open("xb")


def _pages(directory: Path) -> Iterator[Page]:
    """Pages of lines with the checkpoints that fall into them; those beyond the entries come with the last page."""
    notes = (_sized(line) for line in _lines(directory / CHECKPOINTS, MAX_NOTE_BYTES))
    note = next(notes, None)
    rows: list[RawRow] = []
    due: list[tuple[int, str]] = []
    for index, line in enumerate(_lines(directory / ENTRIES, MAX_ENTRY_BYTES)):
        rows.append(RawRow(index, line))
        while note is not None and note[0] <= index + 1:
            due.append(note)
            note = next(notes, None)
        if len(rows) == PAGE:
            yield Page(rows, due)
            rows, due = [], []
    if note is not None:
        due.append(note)
    yield Page(rows, [*due, *notes])


def _sized(line: bytes) -> tuple[int, str]:
    """A checkpoint with the size it claims; 0, and so a bad one, when it claims none."""
    try:
        note = json.loads(line)
        if not isinstance(note, str):
            return 0, ""
        return int(note.split("\n", 2)[1]), note
    except (ValueError, IndexError):
        return 0, ""


def _lines(path: Path, limit: int) -> Iterator[bytes]:
    """Lines without their newline, none longer than the limit."""
    try:
        with path.open("rb") as file:
            while line := file.readline(limit + 2):
                if not line.endswith(b"\n"):
                    raise InputError(
                        "a line is cut or too long",
                        place=str(path),
                        cause="the export is not complete, or was edited",
                        next_step="export again: watchkeeper ledger export",
                    )
                yield line[:-1]
    except OSError as error:
        raise _unreadable(path, error) from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_NOTE_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"cannot read the export: {error.strerror}",
        place=str(path),
        cause="it is not an export, or files of it are missing",
        next_step="export again: watchkeeper ledger export",
    )
