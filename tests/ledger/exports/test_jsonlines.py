"""Files of lines, whole and in parts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.core.errors import InputError
from watchkeeper.ledger.exports.jsonlines import Part, last_line, lines, parts


@given(st.lists(st.binary(max_size=20).map(lambda some: some.replace(b"\n", b"")), max_size=30), st.integers(1, 9))
def test_parts_are_the_file(tmp_path_factory: pytest.TempPathFactory, rows: list[bytes], count: int) -> None:
    path = tmp_path_factory.mktemp("lines") / "some.jsonl"
    path.write_bytes(b"".join(row + b"\n" for row in rows))
    found = parts(path, count)
    assert len(found) <= count
    assert [line for part in found for line in lines(path, 20, part)] == rows == list(lines(path, 20))
    assert last_line(path, 20) == (rows[-1] if rows else None)


def test_a_line_that_is_cut_or_too_long_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_bytes(b"one\ntwo")
    with pytest.raises(InputError, match="cut or too long") as failed:
        list(lines(path, 20))
    assert failed.value.place == str(path)
    with pytest.raises(InputError, match="cut or too long"):
        list(lines(path, 1, Part(0, 4)))
    with pytest.raises(InputError, match="cannot read"):
        list(lines(tmp_path / "none", 20))
