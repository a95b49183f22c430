"""The export: files that are checked with nothing but the key, and every tampering with them is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.testbed.ledgers import Log, draft

from watchkeeper.core.errors import InputError, NotFoundError
from watchkeeper.ledger.export import (
    CHECKPOINT,
    CHECKPOINTS,
    ENTRIES,
    VKEY,
    export,
    exported_entries,
    fsck_export,
    verify_export,
)
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
