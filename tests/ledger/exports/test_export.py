"""The export: files that are checked with nothing but the key, and every tampering with them is found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import delete, insert
from tests.testbed.ledgers import Log, draft

from watchkeeper.core.errors import InputError, NotFoundError
from watchkeeper.ledger.exports.export import export, exported_entries, fsck_export, verify_export
from watchkeeper.ledger.exports.layout import CHECKPOINT, CHECKPOINTS, ENTRIES, START, VKEY
from watchkeeper.ledger.exports.members import Format
from watchkeeper.ledger.signing.keys import SigningKey
from watchkeeper.ledger.signing.note import Note
from watchkeeper.ledger.tables import ledger_pruned, ledger_staged
from watchkeeper.ledger.tree.served import tile
from watchkeeper.ledger.tree.tilepath import TilePath
from watchkeeper.store.engine import Store


@pytest.fixture
async def exported(store: Store, tmp_path: Path) -> tuple[Path, Log]:
    log = Log(store)
    await log.grow(4, 300)
    await log.append(draft())
    report = await export(log.reader, tmp_path / "out", log.key.verifier.vkey)
    assert (report.size, report.checkpoints) == (304, 2)
    return tmp_path / "out", log


async def test_an_export_verifies_by_itself(exported: tuple[Path, Log]) -> None:
    directory, log = exported
    vkey = (directory / VKEY).read_text().strip()
    assert vkey == log.key.verifier.vkey
    report = verify_export(directory, vkey)
    assert (report.ok, report.size, report.checkpoints, report.rollback) == (True, 304, 2, "not_excluded")
    assert verify_export(directory, vkey, await log.checkpoint()).rollback == "excluded"
    lines = (directory / ENTRIES).read_bytes().splitlines()
    assert lines == [entry.envelope.to_bytes() for entry in await log.reader.entries(0, 304)]
    assert list(exported_entries(directory)) == await log.reader.entries(0, 304)


@pytest.mark.parametrize("form", Format)
async def test_every_format_verifies_and_holds_the_entries(store: Store, tmp_path: Path, form: Format) -> None:
    log = Log(store)
    await log.grow(256, 44, 212)
    await export(log.reader, tmp_path / "out", log.key.verifier.vkey, form)
    report = verify_export(tmp_path / "out", log.key.verifier.vkey, await log.checkpoint())
    assert (report.ok, report.size, report.checkpoints, report.rollback) == (True, 512, 3, "excluded")
    assert list(exported_entries(tmp_path / "out")) == await log.reader.entries(0, 512)
    assert (tmp_path / "out" / ENTRIES).exists() is (form is not Format.TILES)
    assert (tmp_path / "out" / "tile").exists() is (form is not Format.JSONL)


async def test_tiles_lie_where_a_file_server_looks_for_them(exported: tuple[Path, Log]) -> None:
    directory, log = exported
    names = {str(path.relative_to(directory)) for path in (directory / "tile").rglob("*") if path.is_file()}
    assert names == {
        "tile/0/000",
        "tile/0/001.p/48",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/48",
    }
    async with log.store.read() as tx:
        for name in names:
            assert (directory / name).read_bytes() == await tile(tx, TilePath.from_text(name))


async def test_cosignatures_that_came_later_do_not_matter(exported: tuple[Path, Log]) -> None:
    directory, log = exported
    witness = SigningKey.generate("witness.example").sign(Note.from_text(await log.checkpoint()).text)
    with (directory / CHECKPOINT).open("a") as file:
        file.write(witness.to_text())
    assert verify_export(directory, log.key.verifier.vkey).ok


async def pruned(log: Log, end: int) -> None:
    """As pruning leaves it: the bodies are gone, the hashes stay."""
    async with log.store.write() as tx:
        await tx.execute(insert(ledger_pruned).values(end=end, last_staged_id=end, at=log.clock.now()))
        await tx.execute(delete(ledger_staged).where(ledger_staged.c.id <= end))


@pytest.mark.parametrize("form", Format)
@pytest.mark.parametrize("end", [256, 300, 700])
async def test_what_is_left_of_a_pruned_log_is_exported(store: Store, tmp_path: Path, form: Format, end: int) -> None:
    log = Log(store)
    await log.grow(300, 300, 100)
    await pruned(log, end)
    await export(log.reader, tmp_path / "out", log.key.verifier.vkey, form)
    report = verify_export(tmp_path / "out", log.key.verifier.vkey, await log.checkpoint())
    assert report.problems == ()
    assert (report.ok, report.size) == (True, 700)
    first = end if form is not Format.TILES or end in (256, 700) else 512
    assert [entry.index for entry in exported_entries(tmp_path / "out")] == list(range(first, 700))


async def test_a_start_that_was_edited_is_found(store: Store, tmp_path: Path) -> None:
    log = Log(store)
    await log.grow(300, 300)
    await pruned(log, 300)
    await export(log.reader, tmp_path / "out", log.key.verifier.vkey)
    start = tmp_path / "out" / START
    lines = start.read_text().splitlines()
    start.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    report = verify_export(tmp_path / "out", log.key.verifier.vkey)
    assert {("start", "tile_differs"), ("checkpoint 300", "checkpoint_root")} <= {
        (problem.where, problem.code.value) for problem in report.problems
    }
    start.write_text("\n".join(lines))
    with pytest.raises(InputError, match="not the start of an export"):
        verify_export(tmp_path / "out", log.key.verifier.vkey)


def edit_line(name: str, number: int, edit: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def tamper(directory: Path) -> None:
        lines = (directory / name).read_bytes().splitlines(keepends=True)
        lines[number] = edit(lines[number])
        (directory / name).write_bytes(b"".join(lines))

    return tamper


def swap(directory: Path) -> None:
    lines = (directory / ENTRIES).read_bytes().splitlines(keepends=True)
    lines[5], lines[6] = lines[6], lines[5]
    (directory / ENTRIES).write_bytes(b"".join(lines))


def another_newest(directory: Path) -> None:
    (directory / CHECKPOINT).write_text("x")


def cut_the_newest_checkpoint(directory: Path) -> None:
    lines = (directory / CHECKPOINTS).read_bytes().splitlines(keepends=True)
    (directory / CHECKPOINTS).write_bytes(lines[0])
    (directory / CHECKPOINT).write_text(json.loads(lines[0]))


TAMPERINGS: dict[str, tuple[Callable[[Path], None], tuple[str, str]]] = {
    "edit": (edit_line(ENTRIES, 9, lambda line: line.replace(b"test", b"tost")), ("entry 10", "writer_link")),
    "edit the last": (
        edit_line(ENTRIES, 303, lambda line: line.replace(b"test", b"tost")),
        ("checkpoint 304", "checkpoint_root"),
    ),
    "delete": (edit_line(ENTRIES, 9, lambda line: b""), ("entry 9", "writer_gap")),
    "insert": (edit_line(ENTRIES, 9, lambda line: line + line), ("entry 10", "writer_gap")),
    "reorder": (swap, ("entry 5", "writer_gap")),
    "truncate": (edit_line(ENTRIES, 303, lambda line: b""), ("checkpoint 304", "checkpoint_beyond")),
    "empty line": (edit_line(ENTRIES, 9, lambda line: b"\n"), ("entry 9", "unreadable_entry")),
    "another newest": (another_newest, ("checkpoint", "bad_checkpoint")),
    "no checkpoint": (edit_line(CHECKPOINTS, 1, lambda line: b'"x"\n'), ("checkpoint 0", "bad_checkpoint")),
    "not JSON": (edit_line(CHECKPOINTS, 1, lambda line: b"7\n"), ("checkpoint 0", "bad_checkpoint")),
    "unsigned tail": (cut_the_newest_checkpoint, ("entry 4", "not_signed")),
}


def written(name: str, edit: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def tamper(directory: Path) -> None:
        (directory / name).write_bytes(edit((directory / name).read_bytes()))

    return tamper


def flip(name: str) -> Callable[[Path], None]:
    return written(name, lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:])


def renamed(name: str, other: str) -> Callable[[Path], None]:
    def tamper(directory: Path) -> None:
        (directory / other).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).rename(directory / other)

    return tamper


def added(name: str) -> Callable[[Path], None]:
    def tamper(directory: Path) -> None:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(b"")

    return tamper


TILE_TAMPERINGS: dict[str, tuple[Callable[[Path], None], tuple[str, str]]] = {
    "leaf": (flip("tile/0/000"), ("tile/0/000", "tile_differs")),
    "partial leaf": (flip("tile/0/001.p/48"), ("tile/0/001.p/48", "tile_differs")),
    "bundle": (flip("tile/entries/000"), ("tile/entries/000", "tile_differs")),
    "longer": (written("tile/1/000.p/1", lambda data: data + data), ("tile/1/000.p/1", "tile_differs")),
    "moved": (renamed("tile/1/000.p/1", "tile/1/000.p/2"), ("tile/1/000.p/2", "tile_differs")),
    "missing": (lambda d: (d / "tile/0/000").unlink(), ("tile/0/000", "tile_differs")),
    "one too many": (added("tile/0/002"), ("tile/0/002", "tile_differs")),
    "no tile": (added("tile/readme"), ("tile/readme", "tile_differs")),
    "deep": (added("tile/" + "x/" * 300 + "000"), ("tile/" + "x/" * 11 + "x", "tile_differs")),
}


@pytest.mark.parametrize("name", TILE_TAMPERINGS)
async def test_invariant_8_a_tile_that_differs_is_found_where_it_is(exported: tuple[Path, Log], name: str) -> None:
    directory, log = exported
    tamper, expected = TILE_TAMPERINGS[name]
    tamper(directory)
    report = verify_export(directory, log.key.verifier.vkey)
    assert not report.ok
    assert expected in {(problem.where, problem.code.value) for problem in report.problems}


BUNDLE_TAMPERINGS: dict[str, tuple[Callable[[Path], None], tuple[str, str]]] = {
    "cut": (
        written("tile/entries/000", lambda data: data[:-1]),
        ("tile/entries/000", "unreadable_entry"),
    ),
    "missing": (lambda d: (d / "tile/entries/001.p/48").unlink(), ("checkpoint 304", "checkpoint_beyond")),
    "all missing": (lambda d: shutil.rmtree(d / "tile/entries"), ("checkpoint 4", "checkpoint_beyond")),
    "edited": (
        written("tile/entries/001.p/48", lambda data: data.replace(b"test", b"tost")),
        ("checkpoint 304", "checkpoint_root"),
    ),
}


@pytest.mark.parametrize("name", BUNDLE_TAMPERINGS)
async def test_invariant_8_with_tiles_alone_a_tampering_is_found(exported: tuple[Path, Log], name: str) -> None:
    directory, log = exported
    (directory / ENTRIES).unlink()
    assert verify_export(directory, log.key.verifier.vkey).ok
    tamper, expected = BUNDLE_TAMPERINGS[name]
    tamper(directory)
    report = verify_export(directory, log.key.verifier.vkey)
    assert not report.ok
    assert expected in {(problem.where, problem.code.value) for problem in report.problems}


@pytest.mark.parametrize("name", TAMPERINGS)
async def test_a_tampering_is_found_where_it_is(exported: tuple[Path, Log], name: str) -> None:
    directory, log = exported
    tamper, expected = TAMPERINGS[name]
    tamper(directory)
    quick, whole = (check(directory, log.key.verifier.vkey) for check in (verify_export, fsck_export))
    assert not quick.ok
    assert not whole.ok
    assert set(quick.problems) <= set(whole.problems)
    assert expected in {(problem.where, problem.code.value) for problem in whole.problems}


@pytest.mark.parametrize("edit", [lambda line: line[:-1], lambda line: b"x" * 70_000 + b"\n"])
async def test_a_cut_or_endless_line_is_an_input_error(
    exported: tuple[Path, Log], edit: Callable[[bytes], bytes]
) -> None:
    directory, log = exported
    edit_line(ENTRIES, 303, edit)(directory)
    with pytest.raises(InputError, match="cut or too long"):
        verify_export(directory, log.key.verifier.vkey)


@pytest.mark.parametrize("name", [ENTRIES, CHECKPOINTS, CHECKPOINT])
async def test_a_missing_file_is_an_input_error(exported: tuple[Path, Log], name: str) -> None:
    directory, log = exported
    shutil.rmtree(directory / "tile")
    (directory / name).unlink()
    with pytest.raises(InputError, match="cannot read the export"):
        verify_export(directory, log.key.verifier.vkey)


async def test_exports_are_not_mixed(exported: tuple[Path, Log]) -> None:
    directory, log = exported
    with pytest.raises(InputError, match="not empty"):
        await export(log.reader, directory, log.key.verifier.vkey)


async def test_an_unsigned_log_is_not_exported(store: Store, tmp_path: Path) -> None:
    log = Log(store)
    await log.append(draft())
    with pytest.raises(NotFoundError, match="nothing to export"):
        await export(log.reader, tmp_path / "out", log.key.verifier.vkey)
