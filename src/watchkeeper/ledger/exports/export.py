"""Exports the signed log as files that anybody can check without us, and checks such an export.

`checkpoint` is the newest signed checkpoint, `checkpoints.jsonl` holds every one, `cosigned.jsonl` what witnesses
signed of which, `vkey` the verifier key. Entries are lines of `entries.jsonl` in their exact bytes, or bundles below
`tile/entries` beside the tiles of their hashes, or both. Where entries were pruned `start` says from which index on
they are there. The key in an export proves nothing by itself: compare it with the one you remember.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from watchkeeper.core.entries import MAX_ENTRY_BYTES
from watchkeeper.core.errors import InputError, VerificationError
from watchkeeper.core.model import Contract
from watchkeeper.ledger.checks.audit import Audit, Code, VerifyReport
from watchkeeper.ledger.checks.examine import examine
from watchkeeper.ledger.checks.fsck import Fsck, stretches
from watchkeeper.ledger.checks.verify import Progress
from watchkeeper.ledger.cosigning import cosignedfile
from watchkeeper.ledger.cosigning.cosigned import Cosigned
from watchkeeper.ledger.exports.jsonlines import lines, unreadable
from watchkeeper.ledger.exports.layout import CHECKPOINT, CHECKPOINTS, COSIGNED, ENTRIES, START
from watchkeeper.ledger.exports.members import Format, members, start_tree
from watchkeeper.ledger.exports.tilefiles import TileFiles, bundles
from watchkeeper.ledger.reader import Entry, LogReader, parse_entry
from watchkeeper.ledger.signing.checkpoint import Checkpoint
from watchkeeper.ledger.signing.keychain import Rotation, rotation_in
from watchkeeper.ledger.signing.note import MAX_NOTE_BYTES, Note, VerifierKey
from watchkeeper.ledger.snapshot import PAGE, Page, Rows
from watchkeeper.ledger.tree.merkle import Tree, leaf_hash


class ExportReport(Contract):
    size: int
    checkpoints: int
    directory: str


async def export(reader: LogReader, directory: Path, vkey: str, form: Format = Format.BOTH) -> ExportReport:
    """Writes everything up to the newest checkpoint into a new or empty directory."""
    _prepare(directory)
    checkpoints = 0
    async for member in members(reader, vkey, form):
        path = directory / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            async for piece in member.pieces:
                file.write(piece)
                checkpoints += piece.count(b"\n") if member.name == CHECKPOINTS else 0
    return ExportReport(size=_signed_size(directory), checkpoints=checkpoints, directory=str(directory))


def verify_export(
    directory: Path, vkey: str, anchor: str | None = None, progress: Progress | None = None
) -> VerifyReport:
    """Verifies an export with nothing but its files and the key you trust."""
    audit = Audit([VerifierKey.from_vkey(vkey)], anchor, _rotations(directory))
    for _ in _audited(directory, audit, progress):
        pass
    return audit.report()


def fsck_export(
    directory: Path, vkey: str, anchor: str | None = None, progress: Progress | None = None
) -> VerifyReport:
    """Verifies an export, and re-derives what its entries say: their form, their contracts, the writers' chains."""
    check = Fsck(Audit([VerifierKey.from_vkey(vkey)], anchor, _rotations(directory)), stored=False)
    if _start(directory).size:
        check.take(None)
    for page in _audited(directory, check.audit, progress):
        for stretch in stretches(page.rows):
            check.take(None if stretch is None else examine(stretch))
    return check.report()


def _audited(directory: Path, audit: Audit, progress: Progress | None) -> Iterator[Page]:
    """Every page after the audit has seen it; then what lies beside the entries."""
    files = TileFiles(directory, audit.problem) if (directory / "tile").is_dir() else None
    start, newest, last = _start(directory), _read(directory / CHECKPOINT).decode(errors="replace"), ""
    total = _claimed(newest)
    audit.begin(start)
    if files is not None:
        files.before(start)
    for page in _pages(directory, audit.problem):
        audit.page(page)
        last = page.checkpoints[-1][1] if page.checkpoints else last
        if files is not None:
            for body in page.rows.bodies:
                files.row(body or b"")
        if progress is not None:
            progress(audit.size, max(total, audit.size))
        yield page
    if files is not None:
        files.close()
    if not _same(last, newest):
        audit.problem("checkpoint", Code.BAD_CHECKPOINT)
    notes = (_sized(line) for line in lines(directory / CHECKPOINTS, MAX_NOTE_BYTES))
    for where in cosignedfile.faults(exported_cosigned(directory), notes):
        audit.problem(where, Code.BAD_COSIGNATURE)


def exported_cosigned(directory: Path) -> Iterator[Cosigned]:
    """What an export has of cosignatures, oldest first; exports of earlier versions have none."""
    path = directory / COSIGNED
    return cosignedfile.decode(lines(path, cosignedfile.MAX_LINE_BYTES) if path.exists() else ())


def exported_entries(directory: Path) -> Iterator[Entry]:
    """The entries of an export, in order, for replay. Verify the export first."""
    for index, body in _bodies(directory, lambda *_: None):
        yield parse_entry(index, body, leaf_hash(body).hex())


def _same(last: str, newest: str) -> bool:
    """The newest checkpoint is the last of all, and may have more signatures: witnesses add theirs later."""
    try:
        one, other = Note.from_text(last), Note.from_text(newest)
    except VerificationError:
        return False
    return one.text == other.text and set(one.signatures) <= set(other.signatures)


def _rotations(directory: Path) -> Iterator[Rotation]:
    """A first look over all entries, for nothing but the rotations: a checkpoint's key may be named long after it."""
    for index, body in _bodies(directory, lambda *_: None):
        found = rotation_in(index, body)
        if found is not None:
            yield found


def _signed_size(directory: Path) -> int:
    return Checkpoint.from_text(Note.from_text(_read(directory / CHECKPOINT).decode()).text).size


def _start(directory: Path) -> Tree:
    """The tree of what is not in the export; empty where everything is."""
    if not (directory / START).exists():
        return Tree()
    try:
        return start_tree(_read(directory / START).decode())
    except ValueError as error:
        raise InputError(
            f"not the start of an export: {error}",
            place=str(directory / START),
            cause="it was cut or edited",
            next_step="export again: watchkeeper ledger export",
        ) from error


def _bodies(directory: Path, problem: Callable[[str, Code], None]) -> Iterator[tuple[int, bytes]]:
    """Every entry's index and bytes, from lines where there are lines, from bundles otherwise."""
    first = _start(directory).size
    if (directory / ENTRIES).exists() or not (directory / "tile").is_dir():
        yield from zip(count(first), lines(directory / ENTRIES, MAX_ENTRY_BYTES))
    else:
        yield from bundles(directory, first, problem)


def _prepare(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise InputError(
            "the directory to export into is not empty",
            place=str(directory),
            cause="an earlier export is there, and exports are never mixed",
            next_step="name a new directory",
        )


def _pages(directory: Path, problem: Callable[[str, Code], None]) -> Iterator[Page]:
    """Pages of entries with the checkpoints that fall into them; those beyond the entries come with the last page."""
    notes = (_sized(line) for line in lines(directory / CHECKPOINTS, MAX_NOTE_BYTES))
    note = next(notes, None)
    indices, bodies = list[int](), list[bytes]()
    due: list[tuple[int, str]] = []
    for index, body in _bodies(directory, problem):
        indices.append(index)
        bodies.append(body)
        while note is not None and note[0] <= index + 1:
            due.append(note)
            note = next(notes, None)
        if len(indices) == PAGE:
            yield Page(Rows(indices, bodies), due)
            indices, bodies, due = [], [], []
    if note is not None:
        due.append(note)
    yield Page(Rows(indices, bodies), [*due, *notes])


def _sized(line: bytes) -> tuple[int, str]:
    """A checkpoint with the size it claims."""
    try:
        note = json.loads(line)
    except (ValueError, RecursionError):
        return 0, ""
    return (_claimed(note), note) if isinstance(note, str) else (0, "")


def _claimed(note: str) -> int:
    """0, which makes it a bad one, for a note that claims no size."""
    try:
        return int(note.split("\n", 2)[1])
    except (ValueError, IndexError):
        return 0


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_NOTE_BYTES)
    except OSError as error:
        raise unreadable(path, error) from error
